package config

import (
	"fmt"
	"strings"

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
// the fingers, the same word in another group, or one that path shortens (lr, warmup).
// Empty when nothing is near.
func nearest(all []setting, path string) string {
	group, word := splitPath(path)
	best, bestDistance := "", max(2, len(word)/3)+1
	for _, s := range all {
		keyGroup, key := splitPath(s.path)
		d := min(spell.Distance(path, s.path), spell.Distance(word, key)+1)
		if shortens(word, key) {
			d = min(d, 1)
			if group == keyGroup {
				d = 0
			}
		}
		if d < bestDistance {
			best, bestDistance = s.path, d
		}
	}
	return best
}

// shortens says whether word is the beginning of key at one of its underscores, or its initials.
func shortens(word, key string) bool {
	initials := ""
	for part := range strings.SplitSeq(key, "_") {
		if part != "" {
			initials += part[:1]
		}
	}
	return len(word) > 1 && (strings.HasPrefix(key, word+"_") || initials == word)
}
