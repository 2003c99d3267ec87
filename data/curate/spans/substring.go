package spans

import (
	"fmt"
	"math/bits"

	"hone/data/curate/extsort"
	"hone/data/curate/words"
	"hone/internal/splitmix"
)

// Substring cuts spans that stood before (Lee et al., "Deduplicating Training Data Makes Language Models Better", 2022, ExactSubstr).
//
// The guarantee: a byte goes if and only if it lies in a window of Length bytes that equals a window which stands, wholly, before it in the
// corpus; then cuts are shortened to whole characters, words or lines. So of every span of at least Length bytes the first copy stays, and no other.
// Windows are compared by 96 bits of their hashes.
//
// It takes two scans. The first samples windows of half the length by winnowing (Schleimer et al., 2003): of the windows of half the length in every
// window of the whole length the one of the least hash. Two equal windows contain equal samples, so what shares no sample need not be looked at
// again. The second compares all windows of the whole length around shared samples.
type Substring struct {
	Length  int    `yaml:"length" doc:"bytes of the shortest span that goes; 200 are about 50 tokens"`
	Whole   string `yaml:"whole" doc:"cut only whole characters, words or lines"`
	MinLeft int    `yaml:"min_left" doc:"a document goes of which fewer characters are left"`
}

// DefaultSubstring has the paper's 50 tokens and RefinedWeb's least length (Penedo et al., 2023, appendix G.3.3).
func DefaultSubstring() Substring { return Substring{Length: 200, Whole: "words", MinLeft: 20} }

// Validate reports the first value that cannot be meant.
func (c Substring) Validate() error {
	switch {
	case c.Length < 16 || c.Length > 1<<16:
		return fmt.Errorf("substring.length is %d; it must be between 16 and %d bytes", c.Length, 1<<16)
	case c.Whole != "characters" && c.Whole != "words" && c.Whole != "lines":
		return fmt.Errorf("substring.whole is %q; use characters, words or lines", c.Whole)
	case c.MinLeft < 0:
		return fmt.Errorf("substring.min_left is %d; it must be at least 0", c.MinLeft)
	}
	return nil
}

// Pass makes the pass.
func (c Substring) Pass() Pass {
	half := c.Length / 2
	samples, windows, check := newRoller(half, 1), newRoller(c.Length, 2), newRoller(c.Length, 3)
	return Pass{Name: "substring", Reason: "little that did not stand before", Least: c.MinLeft, trim: within(c.Whole), Scans: []Scan{
		{Keys: func(text string, _ []Mark, add func(key uint64, at, n int)) {
			samples.winnow(text, c.Length-half+1, func(key uint64, at int) { add(key, at, half) })
		}, Pick: func(m extsort.Member, mark func(extsort.Entry)) {
			if m.N == 2 {
				mark(m.First)
			}
			if m.N > 1 {
				mark(m.Entry)
			}
		}},
		{Keys: func(text string, marks []Mark, add func(key uint64, at, n int)) {
			for _, m := range c.around(text, marks) {
				h, k := windows.at(text, m.At), check.at(text, m.At)
				for at := m.At; ; at++ {
					add(words.Mix(h), at, int(uint32(words.Mix(k))))
					if at == m.At+m.N-1 {
						break
					}
					h, k = windows.roll(h, text, at), check.roll(k, text, at)
				}
			}
		}, Pick: func(m extsort.Member, mark func(extsort.Entry)) {
			overlaps := m.Doc == m.First.Doc && int64(m.At) < int64(m.First.At)+int64(c.Length)
			if m.N > 1 && m.Bytes == m.First.Bytes && !overlaps {
				mark(extsort.Entry{Doc: m.Doc, At: m.At, Bytes: uint32(c.Length)})
			}
		}},
	}}
}

// around is where windows begin that contain a sample within the marks, as spans of beginnings.
func (c Substring) around(text string, marks []Mark) []Mark {
	var begins []Mark
	for _, m := range marks {
		from, to := max(0, m.At+c.Length/2-c.Length), min(m.At+m.N-c.Length/2, len(text)-c.Length)
		if from <= to {
			begins = append(begins, Mark{from, to - from + 1})
		}
	}
	return Joined(begins)
}

// roller hashes windows of n bytes, each from the one before (Karp and Rabin, 1987, modulo 2^64, over random numbers for bytes).
type roller struct {
	n       int
	in, out [256]uint64 // what a byte adds, and what it has grown to when it leaves
}

func newRoller(n int, seed uint64) *roller {
	r := &roller{n: n}
	grown := uint64(1)
	for range n {
		grown *= words.RollFactor
	}
	for b := range r.in {
		r.in[b] = splitmix.Next(&seed)
		r.out[b] = r.in[b] * grown
	}
	return r
}

// at is the hash of the window that begins there.
func (r *roller) at(text string, at int) uint64 {
	h := uint64(0)
	for i := at; i < at+r.n; i++ {
		h = h*words.RollFactor + r.in[text[i]]
	}
	return h
}

// roll makes the hash of the window at a place that of the next one.
func (r *roller) roll(h uint64, text string, at int) uint64 {
	return h*words.RollFactor + r.in[text[at+r.n]] - r.out[text[at]]
}

// winnow calls f for the windows of which the hash is least, the first of equals, among some span following windows.
func (r *roller) winnow(text string, span int, f func(key uint64, at int)) {
	if len(text) < r.n+span-1 {
		return
	}
	ring := make([]uint64, 1<<bits.Len(uint(span)))
	mask := len(ring) - 1
	least := -1
	h := r.at(text, 0)
	for i := 0; ; i++ {
		ring[i&mask] = words.Mix(h)
		switch {
		case i < span-1:
		case least < i-span+1:
			least = i - span + 1
			for j := least + 1; j <= i; j++ {
				if ring[j&mask] < ring[least&mask] {
					least = j
				}
			}
			f(ring[least&mask], least)
		case ring[i&mask] < ring[least&mask]:
			least = i
			f(ring[least&mask], least)
		}
		if i+r.n == len(text) {
			return
		}
		h = r.roll(h, text, i)
	}
}
