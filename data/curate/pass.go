package curate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Pass cuts out of documents what stood before, anywhere in the corpus. It is one or more scans of the whole corpus: in each, what
// documents have in common is found by sorting keys, and marked. What the last scan marks is cut.
type Pass struct {
	Name   string // of what it cuts: lines, paragraphs, substring
	Reason string // why a document goes of which too little is left
	Least  int    // characters that must be left of a document that was cut

	scans []scan
	trim  func(text string, m mark) mark // makes a cut end where something ends; nil: it does already
}

// scan is one look at every document.
type scan struct {
	// keys calls add for everything in a text that is compared. marks are what the scan before found in it.
	keys func(text string, marks []mark, add func(key uint64, at, n int))
	// pick decides what is marked when the entries of a key are looked at one after the other.
	pick func(m member, mark func(entry))
}

// mark is a span of a text.
type mark struct{ at, n int }

// joined makes overlapping and adjoining marks one. They are in order.
func joined(marks []mark) []mark {
	out := marks[:0:0]
	for _, m := range marks {
		if last := len(out) - 1; last >= 0 && m.at <= out[last].at+out[last].n {
			out[last].n = max(out[last].n, m.at+m.n-out[last].at)
			continue
		}
		out = append(out, m)
	}
	return out
}

// cuts are the spans of a text that go.
func (p *Pass) cuts(text string, marks []mark) []mark {
	marks = joined(marks)
	if p.trim == nil {
		return marks
	}
	out := marks[:0]
	for _, m := range marks {
		if m = p.trim(text, m); m.n > 0 {
			out = append(out, m)
		}
	}
	return out
}

// cutScore is the name under which the bytes cut from a document stand beside its text.
func (p *Pass) cutScore() string { return p.Name + ".cut" }

// CutCount is what a pass did.
type CutCount struct {
	Name    string `json:"name"`
	Reason  string `json:"reason"`
	Spans   int64  `json:"spans"`   // cut out
	Bytes   int64  `json:"bytes"`   // in them
	Changed int64  `json:"changed"` // documents that are kept without what was cut
	Dropped Count  `json:"dropped"` // documents of which too little was left, as they were after the cut
	Kept    Count  `json:"kept"`    // what the pass left
}

func (c *CutCount) plus(d CutCount) {
	c.Name, c.Reason = d.Name, d.Reason
	c.Spans += d.Spans
	c.Bytes += d.Bytes
	c.Changed += d.Changed
	c.Dropped.plus(d.Dropped)
	c.Kept.plus(d.Kept)
}

// apply cuts a document, counts it and reports whether it stays.
func (p *Pass) apply(l *line, marks []mark, tokens func(string) int) (cut []string, count CutCount, stays bool) {
	count = CutCount{Name: p.Name, Reason: p.Reason}
	spans := p.cuts(l.Text, marks)
	if len(spans) == 0 {
		count.Kept.plus(l.size())
		return nil, count, true
	}
	var left strings.Builder
	end := 0
	for _, m := range spans {
		left.WriteString(l.Text[end:m.at])
		end = m.at + m.n
		cut = append(cut, l.Text[m.at:end])
		count.Spans++
		count.Bytes += int64(m.n)
	}
	left.WriteString(l.Text[end:])
	l.Text = left.String()
	if tokens != nil {
		l.Tokens = int64(tokens(l.Text))
	}
	if utf8.RuneCountInString(strings.TrimSpace(l.Text)) < max(1, p.Least) {
		count.Dropped.plus(l.size())
		return cut, count, false
	}
	if l.Scores == nil {
		l.Scores = map[string]any{}
	}
	l.Scores[p.cutScore()] = float64(count.Bytes)
	count.Changed++
	count.Kept.plus(l.size())
	return cut, count, true
}

// within makes a span shorter until it begins and ends between characters, words or lines.
func within(whole string) func(text string, m mark) mark {
	between := func(text string, i int) bool { return i == len(text) || utf8.RuneStart(text[i]) }
	switch whole {
	case "words":
		between = func(text string, i int) bool {
			return i == 0 || i == len(text) || unicode.IsSpace(rune(text[i-1])) && text[i-1] < 0x80 || betweenCharacters(text, i)
		}
	case "lines":
		between = func(text string, i int) bool { return i == 0 || i == len(text) || text[i-1] == '\n' }
	}
	return func(text string, m mark) mark {
		from, to := m.at, m.at+m.n
		for from < to && !between(text, from) {
			from++
		}
		for from < to && !between(text, to) {
			to--
		}
		return mark{from, to - from}
	}
}
