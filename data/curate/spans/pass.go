// Package spans finds what stands in a corpus more than once within documents: lines, paragraphs, and any spans of bytes.
//
// A Pass says what is compared and what of it goes; package curate drives it over the corpus, which no memory holds.
package spans

import "hone/data/curate/extsort"

// Pass cuts out of documents what stood before, anywhere in the corpus. It is one or more scans of the whole corpus: in each, what
// documents have in common is found by sorting keys, and marked. What the last scan marks is cut.
type Pass struct {
	Name   string // of what it cuts: lines, paragraphs, substring
	Reason string // why a document goes of which too little is left
	Least  int    // characters that must be left of a document that was cut

	Scans []Scan                         // in their order
	trim  func(text string, m Mark) Mark // makes a cut end where something ends; nil: it does already
}

// Scan is one look at every document.
type Scan struct {
	// Keys calls add for everything in a text that is compared. marks are what the scan before found in it.
	Keys func(text string, marks []Mark, add func(key uint64, at, n int))
	// Pick decides what is marked when the entries of a key are looked at one after the other.
	Pick func(m extsort.Member, mark func(extsort.Entry))
}

// Mark is a span of a text.
type Mark struct{ At, N int } // bytes: its place and its length

// Joined makes overlapping and adjoining marks one. They are in order.
func Joined(marks []Mark) []Mark {
	out := marks[:0:0]
	for _, m := range marks {
		if last := len(out) - 1; last >= 0 && m.At <= out[last].At+out[last].N {
			out[last].N = max(out[last].N, m.At+m.N-out[last].At)
			continue
		}
		out = append(out, m)
	}
	return out
}

// Cuts are the spans of a text that go.
func (p *Pass) Cuts(text string, marks []Mark) []Mark {
	marks = Joined(marks)
	if p.trim == nil {
		return marks
	}
	out := marks[:0]
	for _, m := range marks {
		if m = p.trim(text, m); m.N > 0 {
			out = append(out, m)
		}
	}
	return out
}
