package recipe

import "fmt"

// suggestion words the nearest key to an unknown one, or where the keys are listed.
func suggestion(all []setting, path string) string {
	if key := nearest(all, path); key != "" {
		return fmt.Sprintf("; did you mean %q?", key)
	}
	return "; --help lists the keys"
}

// nearest is the key that path most likely stands for: one that differs by a slip of
// the fingers, or the same word in another group. Empty when nothing is near.
func nearest(all []setting, path string) string {
	_, word := splitPath(path)
	best, bestDistance := "", max(2, len(word)/3)+1
	for _, s := range all {
		_, key := splitPath(s.path)
		d := min(distance(path, s.path), distance(word, key)+1)
		if d < bestDistance {
			best, bestDistance = s.path, d
		}
	}
	return best
}

// distance counts the letters to insert, drop, change or swap with their neighbour to
// turn a into b (optimal string alignment). Long strings are far from everything.
func distance(a, b string) int {
	const far = 64
	if len(a) > far || len(b) > far {
		return far
	}
	var before, last, row [far + 1]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last = last, row
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
