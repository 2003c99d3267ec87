// Package filters has the steps that mend documents or reject them with a reason.
//
// The rules are those that open corpora were made with: Gopher (Rae et al., "Scaling Language Models", 2021, table A1),
// C4 (Raffel et al., 2020, section 2.2) and FineWeb (Penedo et al., 2024), with the defaults of their published filters; decontamination as for GPT-3
// (Brown et al., 2020); and checks of records of fine-tuning data. Most are for prose or code and say so.
// Words are what package words makes of runs of characters other than white space: the whole run, or parts of it in scripts without spaces.
package filters

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// above reports whether a value breaks an upper bound; one that is 0 does not hold.
func above(value, most float64) bool { return most > 0 && value > most }

// share is the value of a key that is a share of something.
type share struct {
	key   string
	value float64
}

// validShares reports the first value that is no share, as a percentage is none: such a bound would hold for no text, or for all.
func validShares(shares ...share) error {
	for _, s := range shares {
		if !(s.value >= 0 && s.value <= 1) {
			return fmt.Errorf("%s is %v; it is a share, from 0 to 1", s.key, s.value)
		}
	}
	return nil
}

// endsSentence reports whether a line ends as a sentence does.
func endsSentence(line string) bool {
	for {
		last, n := utf8.DecodeLastRuneInString(line)
		switch last {
		case '.', '!', '?', '。', '！', '？', '…', '؟', '।':
			return true
		case '"', '\'', ')', ']', '”', '’', '»':
			line = line[:len(line)-n]
		default:
			return false
		}
	}
}

func hasLetter(word string) bool { return strings.ContainsFunc(word, unicode.IsLetter) }
