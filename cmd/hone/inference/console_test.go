package inference

import (
	"io"
	"strings"
	"testing"
)

// TestConsole: lines as they are typed into a pipe, however long up to a bound, and what a terminal may show.
func TestConsole(t *testing.T) {
	long := strings.Repeat("x", 1<<17)
	c := newConsole(strings.NewReader("one\r\n\n"+long+"\nlast"), io.Discard)
	defer c.close()
	for _, want := range []string{"one", "", long, "last"} {
		if got, err := c.line(t.Context()); got != want || err != nil {
			t.Errorf("a line of %d bytes, %v; want one of %d", len(got), err, len(want))
		}
	}
	if _, err := c.line(t.Context()); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	c = newConsole(strings.NewReader(strings.Repeat("x", longestLine+1)+"\n"), io.Discard)
	defer c.close()
	if _, err := c.line(t.Context()); err == nil || !strings.Contains(err.Error(), "longer than 1 MiB; make it shorter") {
		t.Errorf("a line without end: %v", err)
	}
	p := make([]byte, 8)
	n, err := clearing{strings.NewReader("a\x03b\x04")}.Read(p)
	if got := string(p[:n]); got != "a\x15b\x04" || err != nil { // Ctrl-C clears the line, Ctrl-D stays the end
		t.Errorf("keys become %q, %v", got, err)
	}
}
