package recipe

import (
	"fmt"

	"hone/internal/spell"
)

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
		d := min(spell.Distance(path, s.path), spell.Distance(word, key)+1)
		if d < bestDistance {
			best, bestDistance = s.path, d
		}
	}
	return best
}
