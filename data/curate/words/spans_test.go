package words

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
)

// plainSpans finds words a character at a time.
func plainSpans(text string) (words []string, at []int) {
	open, before := false, false // whether the last character was of a word, and of one that is a character by itself
	for i, r := range text {
		mark := open && unicode.IsMark(r)
		alone, part := Unspaced(r) && !mark || mark && before, InWord(r)
		if part && !mark && (alone || !open || before) {
			words, at = append(words, ""), append(at, i)
		}
		if part {
			words[len(words)-1] += string(unicode.ToLower(r))
		}
		open, before = part, alone
	}
	return words, at
}

// TestWordSpans: words in all places of a block and over its end, of one script and of several.
func TestWordSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	pieces := []string{"a", "Z", "7", "word", "LONGWORDS", "sixteen", " ", "  ", ".", "\n\t", "-", "@[`{/:", "\x00", "é", "É", "ß", "\u0301", "Ж", "ж", "人", "々", "ก", "ิ", "ကိ", "\u00a0", "\xff", "\xe4\xba", "😀"}
	hashes := map[string]uint64{}
	for range 3000 {
		var b strings.Builder
		for n := r.IntN(200); b.Len() < n; {
			if b.WriteString(pieces[r.IntN(len(pieces))]); r.IntN(3) > 0 {
				b.WriteString(pieces[r.IntN(11)])
			}
		}
		text := b.String()
		words, at := plainSpans(text)
		most := 1 + r.IntN(60)
		got := Spans(text, most, nil)
		if want := min(most, len(words)); len(got) != want {
			t.Fatalf("%q: %d words, want %d", text, len(got), want)
		}
		for i, w := range got {
			if before, ok := hashes[words[i]]; w.At != at[i] || !strings.EqualFold(text[w.At:w.End], words[i]) || ok && before != w.Hash {
				t.Fatalf("%q: word %d is %q at %d with hash %x, want %q at %d with %x", text, i, text[w.At:w.End], w.At, w.Hash, words[i], at[i], before)
			}
			hashes[words[i]] = w.Hash
		}
	}
	different := map[uint64]bool{}
	for _, h := range hashes {
		different[h] = true
	}
	if len(different) != len(hashes) {
		t.Errorf("%d words have %d hashes", len(hashes), len(different))
	}
}
