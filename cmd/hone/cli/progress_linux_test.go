package cli

import (
	"bytes"
	"testing"

	"hone/cmd/hone/clitest"

	"golang.org/x/sys/unix"
)

// seen is a terminal that remembers what it shows.
type seen struct {
	bytes.Buffer
	fd uintptr
}

func (s *seen) Fd() uintptr { return s.fd }

// TestLiveLine: stdout, as main hands it on, is told to be a terminal, and the line that is rewritten there is no longer than the terminal is wide.
func TestLiveLine(t *testing.T) {
	terminal := clitest.Keyboard(t)
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 7}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	for name, p := range map[string]*Progress{"stdout": NewProgress(&Output{File: terminal}), "stderr": NewProgress(terminal)} {
		if !p.Terminal || !p.Colour || p.fitted("step 1/10") != "step 1" {
			t.Errorf("%s: a terminal is %v, and its line is %q", name, p.Terminal, p.fitted("step 1/10"))
		}
	}
	// of a number that does not fit nothing is shown
	for text, want := range map[string]string{"a 1  b 23": "a 1", "a 1  b": "a 1  b", "a 12    b 3": "a 12", "a 1234  b": "a 1234", "ab 123  c": "ab 123"} {
		if got := NewProgress(terminal).fitted(text); got != want {
			t.Errorf("%q is cut to %q, want %q", text, got, want)
		}
	}
	page := &seen{fd: terminal.Fd()}
	for _, text := range []string{"a b cde fg h three-four", "a\nb c d e f g"} {
		NewProgress(page).Words(text)
	}
	if got, want := page.String(), "a b cde\n  fg h\n  three-four\na\nb c d e f g\n"; got != want {
		t.Errorf("lines are broken as %q, want %q", got, want)
	}
	// A line of which a narrower terminal has made two or three goes as a whole.
	page.Reset()
	p := NewProgress(page)
	p.Terminal = true
	for _, col := range []uint16{7, 3, 2} {
		if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: col}); err != nil {
			t.Fatal(err)
		}
		p.Live("step", false)
	}
	if got, want := page.String(), "\r\x1b[Kstep\r\x1b[1A\x1b[Jst\r\x1b[Ks"; got != want {
		t.Errorf("a terminal that becomes narrower gets %q, want %q", got, want)
	}
	t.Setenv("NO_COLOR", "1")
	if p := NewProgress(terminal); !p.Terminal || p.Colour {
		t.Error("NO_COLOR is set and there is colour")
	}
	t.Setenv("TERM", "dumb")
	if NewProgress(terminal).Terminal {
		t.Error("a line is rewritten on a dumb terminal")
	}
}
