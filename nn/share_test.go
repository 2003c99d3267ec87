package nn

import (
	"slices"
	"testing"
)

// TestFamilies: sequences share what saves most rows.
func TestFamilies(t *testing.T) {
	for name, c := range map[string]struct {
		begins [][]int32
		want   []family
	}{
		"nothing in common":     {[][]int32{{1, 2}, {2, 1}}, []family{{[]int{0}, 2}, {[]int{1}, 2}}},
		"two prompts":           {[][]int32{{5, 6, 7}, {1, 2}, {5, 6, 7}, {1, 2}}, []family{{[]int{1, 3}, 2}, {[]int{0, 2}, 3}}},
		"as far as both go":     {[][]int32{{1, 2, 3, 4}, {1, 2}}, []family{{[]int{1, 0}, 2}}},
		"a token is too little": {[][]int32{{1, 2, 3}, {1, 2, 3}, {1, 9}}, []family{{[]int{0, 1}, 3}, {[]int{2}, 2}}},
		"a preamble":            {[][]int32{{1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 3, 6}}, []family{{[]int{0, 1, 2}, 3}}},
		"asked for at once":     {[][]int32{{}, {}, {1}}, []family{{[]int{0}, 0}, {[]int{1}, 0}, {[]int{2}, 1}}},
	} {
		got := familiesOf(c.begins)
		if !slices.EqualFunc(got, c.want, func(a, b family) bool { return a.length == b.length && slices.Equal(a.members, b.members) }) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
