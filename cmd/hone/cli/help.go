package cli

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// helpWidth is the columns of a terminal that help is made for.
const helpWidth = 80

// narrowHelp makes the help of a command and those below it fit a terminal.
func narrowHelp(root *cobra.Command) {
	standard := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		out, text := cmd.OutOrStdout(), &bytes.Buffer{}
		cmd.SetOut(text)
		standard(cmd, args)
		cmd.SetOut(out)
		fmt.Fprint(out, filled(text.String()))
	})
}

// helpCommand is hone help COMMAND, which is hone COMMAND --help. The library's own shows the help of hone for a command that there is not.
func helpCommand(root *cobra.Command, elsewhere map[string]string) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND ...]", Short: "Show how a command is used", Example: "  hone help tokenizer train", Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 && cmd.HasSubCommands() {
				return helpOrNearest(cmd, rest, elsewhere)
			}
			cmd.InitDefaultHelpFlag() // which the library adds to the command alone that it runs
			cmd.InitDefaultVersionFlag()
			return cmd.Help()
		},
	}
}

// filled breaks the lines of a help text. Lines without indent that follow each other are a paragraph; an indented line stays one entry, whose
// further lines begin below its description; one of the examples can still be pasted into a shell.
func filled(text string) string {
	var out, paragraph []string
	examples := false
	// Lines of a paragraph are joined and broken anew: they were broken for the width of the source.
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, wrapped(strings.Join(paragraph, " "), 0))
		}
		paragraph = nil
	}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		indented := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		if line != "" && !indented {
			paragraph = append(paragraph, line)
			examples = line == "Examples:"
			continue
		}
		flush()
		switch {
		case examples && indented:
			line = continued(line)
		case indented:
			line = wrapped(line, hanging(line))
		}
		out = append(out, line)
	}
	flush()
	return strings.Join(out, "\n") + "\n"
}

// entry is a name, at least two spaces, and what it is.
var entry = regexp.MustCompile(`^ +\S.*?  +\S`)

// hanging is the column of the description of an entry, or the indent of a line that is none.
func hanging(line string) int {
	// Behind a name that takes most of the line a column would be too narrow to read.
	if at := entry.FindStringIndex(line); at != nil && at[1] <= helpWidth*6/10 {
		return utf8.RuneCountInString(line[:at[1]]) - 1
	}
	return len(line) - len(strings.TrimLeft(line, " \t"))
}

// wrapped breaks a line between words, and a list that is wider than a line of its own after commas; the lines after the first are indented.
func wrapped(line string, indent int) string {
	words := strings.Split(line, " ")
	for i, word := range words {
		words[i] = parted(word, helpWidth-indent)
	}
	return broken(strings.Join(words, " "), "\n"+strings.Repeat(" ", indent), helpWidth)
}

// parted puts spaces behind commas of a word that is wider than width, as few as make its pieces fit.
func parted(word string, width int) string {
	var out strings.Builder
	for utf8.RuneCountInString(word) > width {
		end := strings.LastIndexByte(word[:min(width, len(word))], ',') + 1
		if end == 0 {
			break
		}
		out.WriteString(word[:end] + " ")
		word = word[end:]
	}
	return out.String() + word
}

// together matches what must stay on one line of an example: a quoted word, and a flag with its value.
var together = regexp.MustCompile(`(--\S+ )?("[^"]*"|'[^']*')|--\S+ [^-\s]\S*`)

// continued breaks a command for a shell.
func continued(line string) string {
	// A NUL in place of a space keeps words together through the breaking and is in no text.
	glued := together.ReplaceAllStringFunc(line, func(s string) string { return strings.ReplaceAll(s, " ", "\x00") })
	return strings.ReplaceAll(broken(glued, " \\\n      ", helpWidth-len(` \`)), "\x00", " ")
}

// broken has by in the place of spaces of line, so that no piece of it is wider than width unless a word is.
func broken(line, by string, width int) string {
	var out strings.Builder
	column := 0
	for i, word := range strings.Split(line, " ") {
		columns := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+columns > width:
			out.WriteString(by)
			column = len(by) - 1 - strings.IndexByte(by, '\n')
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += columns
	}
	return out.String()
}
