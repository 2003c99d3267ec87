package jinja

import (
	"sort"
	"unicode/utf8"
)

// Origin says where a byte of text came from.
type Origin struct {
	Source  int32 // the input that the byte is a copy of; 0: the template wrote it
	Context int32 // the input whose turn it was when the byte was written (the object that a loop or macro was at); 0: none
}

// Text is a string whose bytes know where they came from, through slicing, joining and filters.
type Text struct {
	s    string
	runs []run // nil: all of it is of the zero Origin
	safe bool  // marked by the filter safe or escape: + escapes what it is joined with
}

// run is the origin of the bytes from the end of the run before it to end.
type run struct {
	end int
	Origin
}

// NewText returns s as a copy of the input numbered source.
func NewText(s string, source int32) Text {
	if source == 0 || s == "" {
		return Text{s: s}
	}
	return Text{s: s, runs: []run{{len(s), Origin{Source: source}}}}
}

// String returns the text alone.
func (t Text) String() string { return t.s }

// Runs calls f for each stretch [start, end) of bytes of one origin, in order.
func (t Text) Runs(f func(start, end int, o Origin)) {
	if t.runs == nil && t.s != "" {
		f(0, len(t.s), Origin{})
	}
	start := 0
	for _, r := range t.runs {
		f(start, r.end, r.Origin)
		start = r.end
	}
}

// slice returns bytes [i, j).
func (t Text) slice(i, j int) Text {
	if t.runs == nil || i >= j {
		return Text{s: t.s[i:max(i, j)]}
	}
	var out []run
	for k := sort.Search(len(t.runs), func(k int) bool { return t.runs[k].end > i }); k < len(t.runs); k++ {
		out = append(out, run{min(t.runs[k].end, j) - i, t.runs[k].Origin})
		if t.runs[k].end >= j {
			break
		}
	}
	return Text{s: t.s[i:j], runs: out}
}

// mapRunes is mapRunes of the whole text, for what a character becomes may depend on those around it; each result is from where the
// character is.
func (t Text) mapRunes(f runeMap) Text {
	if t.runs == nil {
		return Text{s: mapRunes(t.s, f)}
	}
	var b builder
	t.Runs(func(i, j int, o Origin) {
		for k, r := range t.s[i:j] {
			b.add(f(t.s, i+k, r), o)
		}
	})
	return b.text()
}

// mapRuns applies a replacement, such as of & by &amp;, to each stretch of one origin.
func (t Text) mapRuns(f func(string) string) Text {
	if t.runs == nil {
		return Text{s: f(t.s)}
	}
	var b builder
	t.Runs(func(i, j int, o Origin) { b.add(f(t.s[i:j]), o) })
	return b.text()
}

// builder joins texts.
type builder struct {
	buf  []byte
	runs []run
}

// add appends a string of one origin.
func (b *builder) add(s string, o Origin) {
	if s == "" {
		return
	}
	// the first bytes with an origin: those before had none, and now need a run
	if len(b.runs) == 0 && o != (Origin{}) && len(b.buf) > 0 {
		b.runs = append(b.runs, run{end: len(b.buf)})
	}
	b.buf = append(b.buf, s...)
	if len(b.runs) == 0 && o == (Origin{}) {
		return
	}
	if n := len(b.runs); n > 0 && b.runs[n-1].Origin == o {
		b.runs[n-1].end = len(b.buf)
		return
	}
	b.runs = append(b.runs, run{len(b.buf), o})
}

// str appends what the template itself says.
func (b *builder) str(s string) { b.add(s, Origin{}) }

// put appends a text; bytes that were written in no context get this one.
func (b *builder) put(t Text, context int32) {
	t.Runs(func(i, j int, o Origin) {
		if o.Context == 0 {
			o.Context = context
		}
		b.add(t.s[i:j], o)
	})
}

// text shares the runs: the builder must not be used any more.
func (b *builder) text() Text { return Text{s: string(b.buf), runs: b.runs} }

// concat joins texts; what is marked safe must be settled before.
func concat(parts ...Text) Text {
	var b builder
	for _, p := range parts {
		b.put(p, 0)
	}
	return b.text()
}

// runeCount is Python's len of the text.
func (t Text) runeCount() int { return utf8.RuneCountInString(t.s) }

// offset returns the byte at which rune number n starts; len(s) for n beyond the end.
func offset(s string, n int) int {
	if n >= len(s) {
		return len(s)
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// chars splits the text into its characters.
func (t Text) chars() []any {
	out := make([]any, 0, len(t.s))
	for i := 0; i < len(t.s); {
		_, n := utf8.DecodeRuneInString(t.s[i:])
		out = append(out, t.slice(i, i+n))
		i += n
	}
	return out
}
