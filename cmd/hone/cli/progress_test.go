package cli

import (
	"bytes"
	"testing"
)

// TestStages: how far the preparation is, in percent where the end is known.
func TestStages(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		want        string
	}{{1, 3, "tokens      33%\n"}, {3, 3, "tokens     100%\n"}, {5 << 20, 0, "tokens     5120 KiB\n"}, {0, 0, ""}} {
		var out bytes.Buffer
		if NewProgress(&out).Stage("tokens", c.done, c.total); out.String() != c.want {
			t.Errorf("%d of %d is %q, want %q", c.done, c.total, out.String(), c.want)
		}
	}
	var out bytes.Buffer
	p := NewProgress(&out)
	p.Terminal = true
	p.Stage("a", 1, 2)
	p.Line("done")
	if got, want := out.String(), "\r\x1b[Ka           50%\r\x1b[Kdone\n"; got != want || p.open {
		t.Errorf("on a terminal %q, want %q", got, want)
	}
}
