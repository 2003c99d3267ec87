package cli

import (
	"strings"
	"testing"
)

// TestFilled: paragraphs are filled, entries go on below their descriptions, and examples can still be pasted.
func TestFilled(t *testing.T) {
	words := strings.TrimSpace(strings.Repeat("word ", 16)) // 79 columns
	for text, want := range map[string]string{
		"One line\nand the next.\n\nAnother.\n":                        "One line and the next.\n\nAnother.\n",
		words + "\nx y\n":                                              words + "\nx y\n",
		"  --flag string  " + words:                                    "  --flag string  " + words[:59] + "\n                 " + words[60:] + "\n",
		"Examples:\n  hone x --flag 7 \"" + words[:54] + "\" --out y":  "Examples:\n  hone x --flag 7 \"" + words[:54] + "\" \\\n      --out y\n",
		"Examples:\n  hone x \"" + words[:59] + "\" --temperature 0.7": "Examples:\n  hone x \"" + words[:59] + "\" \\\n      --temperature 0.7\n",
		"  --by list        " + strings.Repeat("item,", 14) + "x":      "  --by list        " + strings.Repeat("item,", 12) + "\n" + strings.Repeat(" ", 19) + "item,item,x\n",
	} {
		if got := filled(text); got != want {
			t.Errorf("%q becomes\n%s\nwant\n%s", text, got, want)
		}
	}
}
