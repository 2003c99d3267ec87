package inference

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/clitest"
)

// TestDumbTerminal: a terminal that calls itself dumb is asked for a line and gets no escape sequences, which another one gets.
func TestDumbTerminal(t *testing.T) {
	for name, dumb := range map[string]bool{"dumb": true, "xterm": false} {
		t.Setenv("TERM", name)
		keys := clitest.Keyboard(t)
		number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
		if err := errors.Join(err, unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
			t.Fatal(err)
		}
		terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer terminal.Close()
		c := newConsole(terminal, &cli.Output{File: terminal})
		defer c.close()
		if _, err := keys.WriteString("hello\r"); err != nil {
			t.Fatal(err)
		}
		if got, err := c.line(t.Context()); got != "hello" || err != nil {
			t.Errorf("%s: the line is %q, %v", name, got, err)
		}
		var page []byte
		for part := make([]byte, 100); !strings.Contains(string(page), prompt); {
			n, err := keys.Read(part)
			if page = append(page, part[:n]...); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(string(page), "\x1b") == dumb {
			t.Errorf("%s: the terminal shows %q", name, page)
		}
	}
}
