package curate

import (
	"strings"
	"testing"

	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
	"hone/data/curate/spans"
)

// TestNearDuplicatesWithoutSpaces: a passage that lost a few characters is a copy, and another passage in the same language is none.
func TestNearDuplicatesWithoutSpaces(t *testing.T) {
	for language, passage := range curatetest.Rights(t) {
		runes := []rune(passage[0])
		middle := len(runes) / 2
		edited := string(runes[:middle]) + string(runes[middle+3:])
		c := dedup.DefaultMinHash()
		_, result := curated(t, Config{Near: &c}, passage[0], passage[1], edited)
		if result.Near.Documents != 1 {
			t.Errorf("%s: %d near duplicates, want 1", language, result.Near.Documents)
		}
	}
}

// TestSubstringWithoutSpaces: spans that are cut end between characters of such scripts, too; a text of a single line would stay as a whole.
func TestSubstringWithoutSpaces(t *testing.T) {
	for language, passage := range curatetest.Rights(t) {
		left, _ := curated(t, Config{Passes: []spans.Pass{spans.DefaultSubstring().Pass()}}, passage[0], passage[1]+passage[0])
		if len(left[2]) > len(passage[1])+12 || !strings.HasPrefix(left[2], strings.TrimSpace(passage[1][:len(passage[1])-30])) {
			t.Errorf("%s: %d bytes are left of %d that did not stand before", language, len(left[2]), len(passage[1]))
		}
	}
}
