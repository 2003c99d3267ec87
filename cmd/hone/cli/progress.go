package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Progress shows how far something is: one line that is rewritten on a terminal, else a plain line every two seconds.
type Progress struct {
	Terminal bool // lines can be rewritten
	Colour   bool // on a terminal, unless NO_COLOR is set
	w        io.Writer
	shown    time.Time
	open     bool // a line is being rewritten
	length   int  // of that line
}

// withFd is an output that may be a terminal: a file, or the Output that stdout is.
type withFd interface{ Fd() uintptr }

// NewProgress shows on w. A terminal that cannot rewrite a line gets lines as a file does.
func NewProgress(w io.Writer) *Progress {
	f, ok := w.(withFd)
	terminal := ok && term.IsTerminal(int(f.Fd())) && Rewrites(f.Fd())
	return &Progress{w: w, Terminal: terminal, Colour: terminal && os.Getenv("NO_COLOR") == ""}
}

// Rewrites says whether the terminal behind fd takes escape sequences. One that calls itself dumb, as Emacs's does, takes none.
func Rewrites(fd uintptr) bool { return os.Getenv("TERM") != "dumb" && rewrites(fd) }

// Line prints text on a line of its own.
func (p *Progress) Line(format string, args ...any) {
	p.Clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Clear takes the live line away.
func (p *Progress) Clear() {
	if p.open {
		fmt.Fprint(p.w, p.erase())
		p.open = false
	}
}

// erase takes the live line away. A terminal that has become narrower since has broken it into several.
func (p *Progress) erase() string {
	if width := p.width(); p.open && width > 0 && p.length > width {
		return fmt.Sprintf("\r\x1b[%dA\x1b[J", (p.length-1)/width)
	}
	return "\r\x1b[K"
}

// Live rewrites the live line, or prints it when the last one is two seconds old.
func (p *Progress) Live(text string, milestone bool) {
	if p.Terminal {
		text = p.fitted(text)
		fmt.Fprint(p.w, p.erase()+text)
		p.open, p.length = true, utf8.RuneCountInString(text)
		return
	}
	// A log of a long run is read later: the first and the last step must be in it, and not each one between.
	if milestone || time.Since(p.shown) >= 2*time.Second {
		p.shown = time.Now()
		fmt.Fprintln(p.w, text)
	}
}

// width is the columns of the terminal, 0 where there is none.
func (p *Progress) width() int {
	f, ok := p.w.(withFd)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Words prints a line that a terminal has broken between words, where it would break it anywhere.
func (p *Progress) Words(text string) {
	if width := p.width(); p.Terminal && width > 0 && !strings.Contains(text, "\n") {
		text = broken(text, "\n  ", width)
	}
	p.Line("%s", text)
}

// fitted is text cut to the width of the terminal: what runs over into a second line is not rewritten. It is cut between two of its entries where it
// can be, since the half of a number is another number.
func (p *Progress) fitted(text string) string {
	width := p.width()
	if runes := []rune(text); 0 < width && width <= len(runes) {
		text = string(runes[:width-1])
		if end := strings.LastIndex(text, "  "); end > 0 && !strings.HasPrefix(string(runes[width-1:]), "  ") {
			text = text[:end]
		}
		text = strings.TrimRight(text, " ")
	}
	return text
}

// Stage shows how far the preparation of a run is.
func (p *Progress) Stage(stage string, done, total int64) {
	if total > 0 {
		p.Live(fmt.Sprintf("%-10s %3d%%", stage, 100*done/total), false)
	} else if done > 0 {
		p.Live(fmt.Sprintf("%-10s %s", stage, BytesText(done)), false)
	}
}
