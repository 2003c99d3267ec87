// Package clitest has what the tests of several packages of commands need: comparisons of what a command prints, and a terminal.
package clitest

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Lines compares what a table says, but for the space between its columns.
func Lines(t *testing.T, got string, want ...string) {
	t.Helper()
	if list := Squeezed(got); !slices.Equal(list, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
}

// Squeezed are lines without the space that columns need.
func Squeezed(text string) (lines []string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

// Keys compares the keys of a command's result of, a struct, with those that are wanted. Scripts of users read the objects that --json prints: a key that
// is renamed or gone breaks them, so it must be done in the test, too, and on purpose.
func Keys(t *testing.T, command string, of any, want string) {
	t.Helper()
	if got := strings.Join(jsonKeys(reflect.TypeOf(of)), " "); got != want {
		t.Errorf("hone %s --json has the keys\n%s\nwant\n%s", command, got, want)
	}
}

// jsonKeys are the keys of a struct, those of embedded ones among them.
func jsonKeys(s reflect.Type) (keys []string) {
	for i := range s.NumField() {
		f := s.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			keys = append(keys, jsonKeys(f.Type)...)
		case f.IsExported() && name != "-":
			keys = append(keys, name)
		}
	}
	return keys
}
