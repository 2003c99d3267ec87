package corpus

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
)

// TestCheckExample: the checks whose keys the help sets in its example are among those that it names; a key of another has no effect.
func TestCheckExample(t *testing.T) {
	example := checkCommand(&cli.App{}).Example
	named := regexp.MustCompile(`checks=(\S+)`).FindStringSubmatch(example)
	keys := regexp.MustCompile(`(\w+)\.\w+=`).FindAllStringSubmatch(example, -1)
	if named == nil || len(keys) == 0 {
		t.Fatalf("the example names no checks, or sets none of their keys: %s", example)
	}
	for _, key := range keys {
		if !slices.Contains(strings.Split(named[1], ","), key[1]) {
			t.Errorf("the example sets a key of %s, which is not among %s", key[1], named[1])
		}
	}
}
