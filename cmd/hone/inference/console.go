package inference

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"hone/cmd/hone/cli"
)

// console reads what the user types, a line at a time, and hears Ctrl-C. Without a terminal signals are the program's: nobody is there who means an
// answer alone.
type console struct {
	lines      *bufio.Reader  // without an editor
	terminal   io.Writer      // nil without one
	fd         int            // of the terminal
	editor     *term.Terminal // nil without a terminal, and on one that calls itself dumb, as Emacs's does, and edits lines itself
	interrupts chan os.Signal // on a terminal
	quit       chan os.Signal // the same
}

// prompt stands before what the user types.
const prompt = ">>> "

// longestLine bounds a line from a file or pipe.
const longestLine = 1 << 20

// newConsole uses the terminal when both in and out are one. The caller closes it.
func newConsole(in io.Reader, out io.Writer) *console {
	c := &console{lines: bufio.NewReaderSize(in, 1<<16), interrupts: make(chan os.Signal, 1), quit: make(chan os.Signal, 1)}
	i, ok1 := in.(*os.File)
	o, ok2 := out.(*cli.Output)
	// With either end in a pipe there is nobody to edit a line, and escape sequences would be in the output.
	if !ok1 || !ok2 || !term.IsTerminal(int(i.Fd())) || !term.IsTerminal(int(o.Fd())) {
		return c
	}
	signal.Notify(c.interrupts, os.Interrupt)
	signal.Notify(c.quit, syscall.SIGTERM) // leave the terminal as it was
	if c.terminal = o; !cli.Rewrites(o.Fd()) {
		return c
	}
	c.fd = int(i.Fd())
	c.editor = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{clearing{i}, o}, prompt)
	return c
}

// clearing turns Ctrl-C on an unfinished line into Ctrl-U, which clears it, so that only Ctrl-D leaves.
type clearing struct{ io.Reader }

func (c clearing) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	for i := range p[:n] {
		if p[i] == 3 {
			p[i] = 21
		}
	}
	return n, err
}

func (c *console) close() {
	signal.Stop(c.interrupts)
	signal.Stop(c.quit)
}

// line returns the next line, io.EOF at the end. Lines that are pasted together are one. Without a terminal a context that is done ends it.
func (c *console) line(ctx context.Context) (string, error) {
	switch {
	case c.terminal == nil:
		return cli.Promptly(ctx, c.plainLine)
	case c.editor == nil:
		defer c.untilQuit(func() {})()
		fmt.Fprint(c.terminal, prompt)
		return c.plainLine()
	}
	state, err := term.MakeRaw(c.fd)
	if err != nil {
		return "", err
	}
	restore := func() { _ = term.Restore(c.fd, state) }
	stop := c.untilQuit(restore)
	defer func() {
		stop()
		c.editor.SetBracketedPasteMode(false)
		restore()
	}()
	if w, h, err := term.GetSize(c.fd); err == nil && w > 0 {
		_ = c.editor.SetSize(w, h)
	}
	c.editor.SetBracketedPasteMode(true)
	var parts []string
	for {
		part, err := c.editor.ReadLine()
		parts = append(parts, part)
		if !errors.Is(err, term.ErrPasteIndicator) {
			return strings.Join(parts, "\n"), err
		}
	}
}

// untilQuit ends the program at a signal to quit, after restore, until the caller calls stop.
func (c *console) untilQuit(restore func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-c.quit:
			restore()
			os.Exit(1)
		case <-done:
		}
	}()
	return func() { close(done) }
}

// plainLine reads a line of a file or pipe, or as a terminal gives it, of at most longestLine bytes: a file without line ends must not fill the memory.
func (c *console) plainLine() (string, error) {
	var line []byte
	for {
		part, more, err := c.lines.ReadLine()
		if err != nil {
			return "", err
		}
		if line = append(line, part...); len(line) > longestLine {
			return "", errors.New("a line of the input is longer than 1 MiB; make it shorter")
		}
		if !more {
			return string(line), nil
		}
	}
}
