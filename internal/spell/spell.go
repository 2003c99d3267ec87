// Package spell finds what a misspelt name was meant to be.
package spell

// Distance counts the letters to insert, drop, change or swap with their neighbour to
// turn a into b (optimal string alignment). Long strings are far from everything.
func Distance(a, b string) int {
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
