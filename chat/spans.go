package chat

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"hone/internal/jinja"
)

// Span is a range of bytes [Start, End) of a rendered conversation.
type Span struct{ Start, End int }

// Answer is a part of the text that the model is to write itself.
type Answer struct {
	Span
	Message int // number of the message, from 0
}

// Rendered is a conversation as text that knows its parts.
type Rendered struct {
	Text    string
	Answers []Answer // in order, apart from each other
	Input   []Span   // what was copied from messages, tools and variables; the rest is the template's own words
}

// Render renders a conversation and finds the model's answers in it, each with the tokens that end a turn, in any template.
//
// A template with {% generation %} blocks says itself what the answers are. For any other, the answer to message i is what the
// template writes while its loop is at message i, less the header, which is what it also writes when asked for the
// prompt of that answer, and less the white space after the end of the turn.
func (t *Template) Render(messages []Message, opt Options) (Rendered, error) {
	in, err := t.inputs(messages, opt)
	if err != nil {
		return Rendered{}, fmt.Errorf("render chat template: %w", err)
	}
	r, prefixes, err := in.render(opt.AddGenerationPrompt)
	if err != nil {
		return Rendered{}, fmt.Errorf("render chat template: %w", err)
	}
	out := Rendered{Text: r.Text.String()}
	f := &finder{prefixes: prefixes, eos: t.tokens.EOS, messages: messages, text: out.Text, turns: map[int32][]part{}, copies: map[int32][]part{}}
	r.Text.Runs(func(start, end int, o jinja.Origin) {
		p := part{Span{start, end}, o}
		f.parts = append(f.parts, p)
		f.turns[o.Context] = append(f.turns[o.Context], p)
		if o.Source > 0 {
			f.copies[o.Source] = append(f.copies[o.Source], p)
		}
		if n := len(out.Input); o.Source == sourceTemplate {
			return
		} else if n > 0 && out.Input[n-1].End == start {
			out.Input[n-1].End = end
		} else {
			out.Input = append(out.Input, Span{start, end})
		}
	})
	if in.template.HasGeneration() {
		out.Answers = f.marked(r.Generation)
	} else {
		for i, m := range messages {
			if m.fromModel() {
				out.Answers = append(out.Answers, f.answers(i)...)
			}
		}
	}
	slices.SortStableFunc(out.Answers, func(a, b Answer) int { return a.Start - b.Start })
	return out, nil
}

// part is a stretch of the text of one origin.
type part struct {
	Span
	jinja.Origin
}

// finder looks for the answers in one rendered conversation.
type finder struct {
	prefixes *jinja.Prefixes // the same template for fewer messages
	eos      string          // the end-of-text token, "" if there is none
	messages []Message
	text     string
	parts    []part
	turns    map[int32][]part // the parts by their context: what was written while the template was at a message
	copies   map[int32][]part // the parts by their source: what was copied from a message
}

// marked names the message of each generation block, the first one that it was written for.
func (f *finder) marked(spans []jinja.Span) []Answer {
	var out []Answer
	for _, s := range spans {
		a := Answer{Span{s.Start, s.End}, len(f.messages) - 1}
		for _, p := range f.parts[f.at(s.Start):] {
			if p.Start >= s.End {
				break
			}
			if p.Context > 0 {
				a.Message = int(p.Context) - 1
				break
			}
		}
		if a.Start < a.End {
			out = append(out, a)
		}
	}
	return out
}

// region is a stretch of the text that was written for one message. payload is what in it was copied from that message; it is
// empty, at the end of the region, when nothing was.
type region struct {
	Span
	payload Span
	named   bool // the speaker's role is written before the payload
	empty   bool
}

// regions are the stretches for message i.
func (f *finder) regions(i int) []region {
	n := int32(i + 1)
	var out []region
	covered := false
	for _, p := range f.turns[n] {
		if k := len(out); k == 0 || out[k-1].End != p.Start {
			out = append(out, region{Span: Span{p.Start, p.Start}, empty: true})
		}
		r := &out[len(out)-1]
		r.End = p.End
		switch {
		case p.Source == n && r.empty:
			r.payload, r.empty, covered = p.Span, false, true
		case p.Source == n:
			r.payload.End = p.End
		case p.Source == sourceRole && r.empty:
			r.named = true
		}
	}
	// written in another one's turn, where only the copies are its own; what stands in its own turn is another one's, or nothing
	if copies := f.copies[n]; !covered && len(copies) > 0 {
		out = out[:0]
		for _, p := range copies {
			out = append(out, region{Span: p.Span, payload: p.Span})
		}
		return out
	}
	for k := range out {
		if out[k].empty {
			out[k].payload = Span{out[k].End, out[k].End}
		}
	}
	return out
}

// answers are the parts of the text that the model writes as message i.
func (f *finder) answers(i int) []Answer {
	var out []Answer
	for k, r := range f.regions(i) {
		start := r.payload.Start
		if k == 0 { // the regions behind it go on with the same turn, and have no header
			start = f.begin(i, r)
		}
		end := f.end(r)
		if r.empty {
			end = f.endOfEmpty(start, r)
		}
		if start < end {
			out = append(out, Answer{Span{start, end}, i})
		}
	}
	return out
}

// begin returns where the header of a region ends.
func (f *finder) begin(i int, r region) int {
	header := f.text[r.Start:r.payload.Start]
	if header == "" {
		return r.Start
	}
	if i > 0 {
		// in most templates the text up to message i with the prompt is a prefix of the whole, and the answer begins behind it
		with, err := f.prefix(i, true)
		if n := with.len(); err == nil && n >= r.Start && n <= r.payload.Start && strings.HasPrefix(f.text[with.shared:], with.rest) {
			return n
		}
		// else, as where thoughts of earlier turns are dropped, the prompt is what the two differ by, and the header as much of it as is
		// there
		if without, err2 := f.prefix(i, false); err == nil && err2 == nil {
			prompt := f.prompt(with, without)
			n := commonPrefix(header, prompt)
			if n < len(header) && n < len(prompt) {
				n = wholeTokens(header[:n])
			}
			if n > 0 {
				return r.Start + n
			}
		}
	}
	// a template without prompts: a header names the speaker
	lower := strings.ToLower(header)
	if r.named || strings.Contains(lower, "assistant") || strings.Contains(lower, "model") {
		return r.payload.Start
	}
	return r.Start
}

// rendering is the text of fewer messages: what it shares with the whole text, then the rest. It is not put together, as a template that repeats
// nothing would have half the whole text copied for each answer.
type rendering struct {
	shared int // bytes
	rest   string
}

// len is the length in bytes of the text put together.
func (r rendering) len() int { return r.shared + len(r.rest) }

// prefix renders the messages before message i, with or without the prompt of an answer.
func (f *finder) prefix(i int, prompt bool) (r rendering, err error) {
	r.shared, r.rest, err = f.prefixes.Render(i, map[string]jinja.Value{varPrompt: jinja.Bool(prompt)})
	return r, err
}

// prompt is what a rendering has more than one without a prompt, from the last token on that is the same in both. Both share as much with the
// whole text, since they are of as many messages.
func (f *finder) prompt(with, without rendering) string {
	if strings.HasPrefix(with.rest, without.rest) {
		return with.rest[len(without.rest):]
	}
	n := commonPrefix(with.rest, without.rest)
	if k := wholeTokens(with.rest[:n]); k > 0 {
		return with.rest[k:]
	}
	return f.text[wholeTokens(f.text[:with.shared]):with.shared] + with.rest
}

// commonPrefix is the number of bytes that a and b have in common from their start, which may end inside of a character.
func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// wholeTokens cuts a text back to where a special token or a word ends, as two tokens may begin alike.
func wholeTokens(s string) int { return strings.LastIndexAny(s, ">] \n:") + 1 }

// end returns where the turn of a region ends: after the end-of-text token, or else before the white space at the end.
func (f *finder) end(r region) int {
	after, eos := f.text[r.payload.End:r.End], f.eos
	if eos != "" {
		if i := strings.Index(after, eos); i >= 0 {
			return r.payload.End + i + len(eos)
		}
	}
	if trimmed := strings.TrimRightFunc(after, jinja.IsSpace); trimmed != "" {
		return r.payload.End + len(trimmed)
	}
	rest := f.text[r.payload.End:]
	blank := len(rest) - len(strings.TrimLeftFunc(rest, jinja.IsSpace))
	if eos != "" && strings.HasPrefix(rest[blank:], eos) && f.own(r.payload.End+blank) {
		return r.payload.End + blank + len(eos)
	}
	return r.payload.End
}

// endOfEmpty is end for a region without any payload, which begins at start.
func (f *finder) endOfEmpty(start int, r region) int {
	if start >= r.End {
		return start
	}
	r.payload = Span{start, start}
	return f.end(r)
}

// own reports whether the byte at i is the template's.
func (f *finder) own(i int) bool {
	return f.parts[f.at(i)].Source == sourceTemplate
}

// at returns the number of the part that byte i is in.
func (f *finder) at(i int) int {
	return sort.Search(len(f.parts), func(k int) bool { return f.parts[k].End > i })
}
