package spans

import (
	"fmt"
	"testing"
)

// TestSubstringsByDefinition: marks that touch are one, and cuts are made smaller until they end between characters, words or lines.
func TestSubstringsByDefinition(t *testing.T) {
	if got := fmt.Sprint(Joined([]Mark{{0, 3}, {3, 2}, {4, 9}, {20, 1}, {20, 0}, {22, 1}})); got != "[{0 13} {20 1} {22 1}]" {
		t.Errorf("joined %s", got)
	}
	for _, c := range []struct {
		whole, text string
		m           Mark
		want        string
	}{
		{"characters", "aäb", Mark{2, 2}, "b"}, {"characters", "aäb", Mark{1, 1}, ""}, {"characters", "aäb", Mark{0, 4}, "aäb"}, {"words", "one two three", Mark{1, 9}, "two "}, {"words", "one two", Mark{4, 3}, "two"},
		{"words", "one two", Mark{5, 2}, ""}, {"words", "a\u00a0b c", Mark{1, 5}, "c"}, {"lines", "one\ntwo\nthree", Mark{2, 8}, "two\n"}, {"lines", "one\ntwo", Mark{4, 3}, "two"}, {"lines", "one\ntwo", Mark{0, 6}, "one\n"},
	} {
		m := within(c.whole)(c.text, c.m)
		if got := c.text[m.At : m.At+m.N]; got != c.want {
			t.Errorf("%v of %q within %s is %q, want %q", c.m, c.text, c.whole, got, c.want)
		}
	}
}
