package curate

import (
	"strings"
	"unicode/utf8"

	"hone/data/curate/spans"
)

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

// cut takes what a pass marked out of a document, counts it and reports whether the document stays.
func (l *line) cut(p *spans.Pass, marks []spans.Mark, tokens func(string) int) (cut []string, count CutCount, stays bool) {
	count = CutCount{Name: p.Name, Reason: p.Reason}
	going := p.Cuts(l.Text, marks)
	if len(going) == 0 {
		count.Kept.plus(l.size())
		return nil, count, true
	}
	var left strings.Builder
	end := 0
	for _, m := range going {
		left.WriteString(l.Text[end:m.At])
		end = m.At + m.N
		cut = append(cut, l.Text[m.At:end])
		count.Spans++
		count.Bytes += int64(m.N)
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
	l.Scores[cutScore(p)] = float64(count.Bytes)
	count.Changed++
	count.Kept.plus(l.size())
	return cut, count, true
}

// cutScore is the name under which the bytes cut from a document stand beside its text.
func cutScore(p *spans.Pass) string { return p.Name + ".cut" }
