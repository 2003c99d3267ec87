package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// This file words what is wrong with a file that is no recipe, or is one with a slip: where, what, and what to do.

// notText reports what no YAML text has: bytes that are not UTF-8 and control characters, as images, archives, weights and texts of other encodings have.
func (d *decoder) notText(text []byte) error {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		control := r < ' ' && !strings.ContainsRune("\t\n\r", r) || r >= 0x7f && r < 0xa0 && r != 0x85
		switch wrong := control || r == utf8.RuneError && size == 1; {
		case wrong && d.named():
			line := 1 + bytes.Count(text[:at], []byte("\n"))
			return fmt.Errorf("%s:%d: a control character or a byte that is no UTF-8; save the recipe as plain text in UTF-8", d.name, line)
		case wrong:
			return fmt.Errorf("%s is no plain text in UTF-8 and so no recipe%s", d.name, d.orData())
		}
		at += size
	}
	return nil
}

// named tells whether the file is called as a recipe is.
func (d *decoder) named() bool {
	return slices.Contains([]string{".yaml", ".yml"}, strings.ToLower(filepath.Ext(d.name)))
}

// orData says how data is named, after an error of a file that is not called as a recipe is: it may well be data.
func (d *decoder) orData() string {
	if d.named() {
		return ""
	}
	return orData(d.settings, d.name)
}

// orData says by which key a recipe takes data, if it takes any.
func orData(all []setting, file string) string {
	for _, key := range []string{"data", "prompts"} {
		if s, _ := find(all, key); s != nil {
			return fmt.Sprintf("; if it is data, write %s=%s", key, file)
		}
	}
	return ""
}

// slip words an error of the YAML parser, whose own words are of its parts.
func (d *decoder) slip(text []byte, err error) error {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return fmt.Errorf("%s: not valid YAML: %s%s", d.name, oneLine(err), d.orData())
	}
	lines := strings.Split(strings.TrimRight(string(text), " \r\n"), "\n")
	line, what := min(max(1, e.Mark.Line), len(lines)), ""
	says := func(words string) bool { return strings.Contains(e.Message, words) }
	switch {
	case says("tab"), says("cannot start any token") && strings.HasPrefix(strings.TrimLeft(lines[line-1], " "), "\t"):
		what = "a tab stands in the indent; indent by spaces"
	case says("expected ',' or ']'"):
		line, what = e.ContextMark.Line, "a list begins with [ and does not end; close it by ], with commas between its items"
	case says("expected node content"):
		what = "a value is missing: a comma has none behind it, or a list or group does not end; close it by ] or }"
	case says("expected ',' or '}'"):
		line, what = e.ContextMark.Line, "a group begins with { and does not end; close it by }, with commas between its keys"
	case says("unexpected end of stream"), says("unexpected document indicator"):
		line, what = e.ContextMark.Line, "a quote opens and does not close; end the value with the same quote"
	case says("cannot start any token"), says("unknown anchor"), says("did not find expected alphabetic"):
		what = "a value cannot begin with a sign such as % @ ` * &; put it in quotes"
	case says("escape"), says("hexadecimal"): // \u and \x want digits behind them
		what = `a backslash in double quotes begins an escape; put the value in single quotes`
	case says("could not find expected ':'"):
		line, what = e.ContextMark.Line, "the line has no colon; write KEY: VALUE"
	case says("did not find expected key"), says("did not find expected '-'"):
		what = leftOver(lines[line-1], e.Mark.Column)
	case says("block sequence entries are not allowed"):
		what = "a list begins behind its key; write it as [A, B], or each item in a line of its own below the key"
	case says("comment or line break") && !strings.HasPrefix(lines[line-1], "%"):
		what = "a value cannot begin with > or |, which announce a text in the lines below; put it in quotes"
	case says("comment without preceding whitespace"):
		what = "a comment stands close to the value; put a space before its #"
	case says("<document start>"):
		line, what = misplaced(lines, line, "the line stands behind the end of the recipe, which is a list of lines KEY: VALUE")
	case says("mapping values are not allowed"):
		line, what = misplaced(lines, line, "the line is indented below one that has a value; keys of one group begin in the same column")
	default:
		what = "not valid YAML: " + e.Message
	}
	return fmt.Errorf("%s:%d: %s%s", d.name, line, what, d.orData())
}

// leftOver words what stands at a column, counted from 1, where a key of a group or an item of a list can begin and none does.
func leftOver(line string, column int) string {
	runes := []rune(line)
	at := min(max(column-1, 0), len(runes))
	switch rest := string(runes[at:]); {
	case strings.HasPrefix(rest, "]"), strings.HasPrefix(rest, "}"):
		return "a bracket closes here that none has opened; take it out, or put the value in quotes"
	case strings.TrimSpace(string(runes[:at])) == "":
		return "the line begins in another column than those of its group above; keys of one group begin in the same column"
	}
	return "something stands behind the end of a value; put all of it in single quotes, and write a single quote in it twice"
}

// misplaced words what stands where nothing can begin, in a line counted from 1: most often a slip of that line or of the one before, else as otherwise says.
func misplaced(lines []string, line int, otherwise string) (at int, what string) {
	empty := func(line string) bool { text := strings.TrimSpace(line); return text == "" || text[0] == '#' }
	before := line - 1
	for before > 0 && empty(lines[before-1]) {
		before--
	}
	switch {
	case before > 0 && !strings.Contains(lines[before-1], ":"):
		return before, "the line has no colon; write KEY: VALUE"
	case !strings.HasPrefix(lines[line-1], "{") && strings.Count(lines[line-1], ": ") > 1:
		return line, "the value has a colon with a space behind it; put the value in quotes"
	}
	return line, otherwise
}
