package tokenizer

import (
	"bytes"
	"unicode/utf8"

	"hone/internal/characters"
)

// AddedToken is a token beside the merges, with its flags as tokenizer.json has them.
type AddedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // recognised only where no word character touches it
	LStrip     bool   `json:"lstrip"`      // takes the whitespace before it
	RStrip     bool   `json:"rstrip"`      // takes the whitespace after it
	Normalized bool   `json:"normalized"`  // looked for after the others, in normalized text
	Special    bool   `json:"special"`     // recognised by EncodeWithSpecial only
}

// addedTokens finds added tokens in two passes as the reference does: first those that are not "normalized", in the text as it is; then,
// in what is left and has been normalized, those that are.
type addedTokens struct{ passes [2]addedSet }

// addedSet is one pass: tokens by first byte, longest first.
type addedSet struct {
	byFirst    [256][]AddedToken
	anyPlain   bool
	anySpecial bool
}

type addedMatch struct {
	start, end int
	id         int32
}

// newAddedTokens sorts tokens into passes; normalized gives the text that a normalized token is found by.
func newAddedTokens(tokens []AddedToken, normalized func(string) string) addedTokens {
	var a addedTokens
	for _, tok := range tokens {
		set := &a.passes[0]
		if tok.Normalized {
			set = &a.passes[1]
			if tok.Content = normalized(tok.Content); tok.Content == "" {
				continue
			}
		}
		set.anySpecial = set.anySpecial || tok.Special
		set.anyPlain = set.anyPlain || !tok.Special
		list := &set.byFirst[tok.Content[0]]
		*list = append(*list, tok)
		for i := len(*list) - 1; i > 0 && len((*list)[i-1].Content) < len((*list)[i].Content); i-- {
			(*list)[i-1], (*list)[i] = (*list)[i], (*list)[i-1]
		}
	}
	return a
}

// any reports whether a search could find something.
func (s *addedSet) any(special bool) bool { return s.anyPlain || special && s.anySpecial }

// find appends the places of tokens in text, leftmost and longest first. A match that its flags forbid
// is passed over, and no shorter token is looked for in its place.
func (s *addedSet) find(dst []addedMatch, text []byte, special bool) []addedMatch {
	if !s.any(special) {
		return dst
	}
	done := 0
	for i := 0; i < len(text); {
		tok := s.longestAt(text[i:])
		if tok == nil {
			i++
			continue
		}
		start, end := i, i+len(tok.Content)
		i = end
		if tok.Special && !special || tok.SingleWord && touchesWord(text, start, end) {
			continue
		}
		// not beyond the last token, whose RStrip may have taken the same white space; a token that begins there is still one
		if tok.LStrip {
			start = max(done, len(bytes.TrimRightFunc(text[:start], isWhite)))
		}
		if tok.RStrip {
			end = len(text) - len(bytes.TrimLeftFunc(text[end:], isWhite))
		}
		if start < end { // else the last token has taken all of it
			dst = append(dst, addedMatch{start, end, tok.ID})
			done = end
		}
	}
	return dst
}

// longestAt is the longest token that text begins with. Few tokens begin with the same byte, so no automaton is built.
func (s *addedSet) longestAt(text []byte) *AddedToken {
	list := s.byFirst[text[0]]
	for i := range list {
		if c := list[i].Content; len(c) <= len(text) && string(text[:len(c)]) == c {
			return &list[i]
		}
	}
	return nil
}

// touchesWord reports whether a word character (\w of Unicode's regular expressions) stands before or after text[start:end].
func touchesWord(text []byte, start, end int) bool {
	props := characters.Reference()
	before, _ := utf8.DecodeLastRune(text[:start])
	after, _ := utf8.DecodeRune(text[end:])
	return (props.Of(before)|props.Of(after))&characters.Word != 0 // the U+FFFD of an end or of invalid bytes is none
}

// isWhite is Rust's char::is_whitespace, the property White_Space.
func isWhite(r rune) bool { return characters.Reference().Of(r)&characters.White != 0 }
