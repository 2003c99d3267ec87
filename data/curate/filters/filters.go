// Package filters has the steps that mend documents or reject them with a reason.
//
// The rules are those that open corpora were made with: Gopher (Rae et al., "Scaling Language Models", 2021, table A1),
// C4 (Raffel et al., 2020, section 2.2) and FineWeb (Penedo et al., 2024), with the defaults of their published filters; decontamination as for GPT-3
// (Brown et al., 2020); and checks of records of fine-tuning data. Most are for prose or code and say so.
// Words are what package words makes of runs of characters other than white space: the whole run, or parts of it in scripts without spaces.
package filters

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// above reports whether a value breaks an upper bound; one that is 0 does not hold.
func above(value, most float64) bool { return most > 0 && value > most }

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
