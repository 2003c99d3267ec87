package spell

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"steps", "stepz", 1}, {"setps", "steps", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// TestLongStrings: up to 64 bytes are compared, longer strings are as far as that from everything, themselves included.
func TestLongStrings(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		a, b string
		want int
	}{{long, long, 0}, {long, long[1:], 1}, {long, "", 64}, {long + "x", "x", 64}, {"x", long + "x", 64}, {long + "x", long + "x", 64}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("distance of %d and %d letters is %d, want %d", len(c.a), len(c.b), got, c.want)
		}
	}
}
