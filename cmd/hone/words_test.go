package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
)

// TestMistakesInWords: a name that is nearly right is told with the right one, and a flag that is a key of a recipe with the key.
func TestMistakesInWords(t *testing.T) {
	for line, want := range map[string]string{
		"pretran": `unknown command "pretran"; did you mean "pretrain"? hone --help lists them`, "xx": `unknown command "xx"; hone --help lists them`, "gx": `unknown command "gx"; hone --help lists them`,
		"data curat":               `unknown command "curat"; did you mean "curate"? hone data --help lists them`,
		"bench trian":              `unknown command "trian"; did you mean "train"? hone bench --help lists them`,
		"sft --batch-size=2":       "unknown flag --batch-size; keys have no dashes: write batch_size=VALUE",
		"sft --learning-rate=2":    "unknown flag --learning-rate; keys have no dashes: write optimizer.learning_rate=VALUE",
		"plan --lauch x":           "unknown flag --lauch; did you mean --launch? hone plan --help lists them",
		"plan --nothing-like-it":   "unknown flag --nothing-like-it; hone plan --help lists them",
		"chat m --threads=x":       `--threads is "x", which is no whole number; hone chat --help says what flags take`,
		"chat m --seed=-1":         `--seed is "-1", which is no whole number of 0 or more; hone chat --help says what flags take`,
		"chat m --temperature=hot": `--temperature is "hot", which is no number; hone chat --help says what flags take`,
		"chat":                     "0 arguments were given; use: hone chat MODEL [flags]",
	} {
		var out, err bytes.Buffer
		if code := run(context.Background(), &cli.App{In: strings.NewReader(""), Out: &out, Err: &err}, strings.Fields(line)); code != 1 || out.Len() != 0 || err.String() != "hone: "+want+"\n" {
			t.Errorf("hone %s: exit code %d, %q and %q, want %q", line, code, out.String(), err.String(), want)
		}
	}
}
