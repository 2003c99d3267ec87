package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelpFits: no line of any command's help is wider than a terminal.
func TestHelpFits(t *testing.T) {
	var walk func(path []string, c *cobra.Command)
	walk = func(path []string, c *cobra.Command) {
		path = append(path[:len(path):len(path)], c.Name())
		var out bytes.Buffer
		if code := run(context.Background(), &app{out: &out, err: &out}, append(path, "--help")); code != 0 {
			t.Errorf("hone %v --help: exit code %d", path, code)
		}
		for line := range strings.SplitSeq(out.String(), "\n") {
			if utf8.RuneCountInString(line) > helpWidth {
				t.Errorf("hone %s --help is %d columns wide: %s", strings.Join(path, " "), utf8.RuneCountInString(line), line)
			}
		}
		for _, sub := range c.Commands() {
			walk(path, sub)
		}
	}
	for make := range allCommands {
		walk(nil, make(&app{}))
	}
}

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
