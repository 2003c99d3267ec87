package words

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// scripts are the ways of writing that texts are told apart by; Japanese is Han and Kana together.
var scripts = []struct {
	name   string
	tables []*unicode.RangeTable
}{
	{"Latin", []*unicode.RangeTable{unicode.Latin}},
	{"Han", []*unicode.RangeTable{unicode.Han}},
	{"Cyrillic", []*unicode.RangeTable{unicode.Cyrillic}},
	{"Arabic", []*unicode.RangeTable{unicode.Arabic}},
	{"Kana", []*unicode.RangeTable{unicode.Hiragana, unicode.Katakana}},
	{"Hangul", []*unicode.RangeTable{unicode.Hangul}},
	{"Devanagari", []*unicode.RangeTable{unicode.Devanagari}},
	{"Greek", []*unicode.RangeTable{unicode.Greek}},
	{"Hebrew", []*unicode.RangeTable{unicode.Hebrew}},
	{"Thai", []*unicode.RangeTable{unicode.Thai}},
	{"Bengali", []*unicode.RangeTable{unicode.Bengali}},
	{"Tamil", []*unicode.RangeTable{unicode.Tamil}},
	{"Telugu", []*unicode.RangeTable{unicode.Telugu}},
	{"Georgian", []*unicode.RangeTable{unicode.Georgian}},
	{"Armenian", []*unicode.RangeTable{unicode.Armenian}},
}

// otherScript is the name of every other way of writing.
const otherScript = "other"

// Scripts counts the letters of a text by script.
func Scripts(text string) map[string]int64 {
	counts := make([]int64, len(scripts)+1)
	for _, r := range text {
		if r < 0x80 { // nearly all letters of nearly all texts
			if r|0x20 >= 'a' && r|0x20 <= 'z' {
				counts[0]++
			}
			continue
		}
		if unicode.IsLetter(r) {
			counts[scriptOf(r)]++
		}
	}
	out := map[string]int64{}
	for i, n := range counts {
		switch {
		case n == 0:
		case i == len(scripts):
			out[otherScript] = n
		default:
			out[scripts[i].name] = n
		}
	}
	return out
}

func scriptOf(r rune) int {
	for i, s := range scripts {
		if unicode.In(r, s.tables...) {
			return i
		}
	}
	return len(scripts)
}

// MainScript is the one with the most letters, "" when there are none.
func MainScript(counts map[string]int64) string {
	names := slices.Sorted(maps.Keys(counts))
	if len(names) == 0 {
		return ""
	}
	return slices.MaxFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(counts[a], counts[b]), cmp.Compare(b, a)) })
}

// IsScript reports whether Scripts counts by that name.
func IsScript(name string) bool {
	return slices.Contains(strings.Split(ScriptNames(), ", "), name)
}

// ScriptNames are the names that Scripts counts by, with commas between.
func ScriptNames() string {
	names := []string{}
	for _, s := range scripts {
		names = append(names, s.name)
	}
	return strings.Join(append(names, otherScript), ", ")
}
