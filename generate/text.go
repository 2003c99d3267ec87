package generate

import (
	"strings"

	"hone/tokenizer"
)

// textStream turns tokens into text as they come. It gives out whole characters only, and holds back what
// may be the beginning of a stop string until the next token decides.
type textStream struct {
	decoder *tokenizer.StreamDecoder
	stops   []string
	held    string // decoded, not given out: a proper prefix of some stop string
	scratch []byte
}

// add appends a token and returns the text that is certain now. stopped is true when a stop string is
// complete: the text then ends before it and nothing may follow.
func (s *textStream) add(id int32) (text string, stopped bool) {
	s.scratch = s.decoder.Append(s.scratch[:0], id)
	return s.cut(string(s.scratch))
}

// end returns what was held back. An unfinished character comes as U+FFFD and may still complete a stop string.
func (s *textStream) end() string {
	text, stopped := s.cut(string(s.decoder.Flush(s.scratch[:0])))
	if !stopped {
		text += s.held
	}
	s.held = ""
	return text
}

// cut adds text to what is held and gives out what no stop string can begin in; a stop string may lie across
// several tokens.
func (s *textStream) cut(more string) (text string, stopped bool) {
	text = s.held + more
	first := -1
	for _, stop := range s.stops {
		if i := strings.Index(text, stop); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		return text[:first], true
	}
	hold := 0
	for _, stop := range s.stops {
		hold = max(hold, overlap(text, stop))
	}
	s.held = text[len(text)-hold:]
	return text[:len(text)-hold], false
}

// overlap is the length of the longest end of text that is a beginning of stop, stop itself excluded.
func overlap(text, stop string) int {
	for n := min(len(text), len(stop)-1); n > 0; n-- {
		if strings.HasSuffix(text, stop[:n]) {
			return n
		}
	}
	return 0
}
