package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
)

// TestHelpFits: no line of any command's help is wider than a terminal.
func TestHelpFits(t *testing.T) {
	const width = 80
	var walk func(path []string, c *cobra.Command)
	walk = func(path []string, c *cobra.Command) {
		path = append(path[:len(path):len(path)], c.Name())
		var out bytes.Buffer
		if code := run(context.Background(), &cli.App{Out: &out, Err: &out}, append(path, "--help")); code != 0 {
			t.Errorf("hone %v --help: exit code %d", path, code)
		}
		for line := range strings.SplitSeq(out.String(), "\n") {
			if utf8.RuneCountInString(line) > width {
				t.Errorf("hone %s --help is %d columns wide: %s", strings.Join(path, " "), utf8.RuneCountInString(line), line)
			}
		}
		for _, sub := range c.Commands() {
			walk(path, sub)
		}
	}
	for make := range allCommands {
		walk(nil, make(&cli.App{}))
	}
}
