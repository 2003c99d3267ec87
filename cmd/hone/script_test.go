package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hone": main})
}

// TestScripts runs the command lines of testdata/script as a user would, each script in a folder of its own with
// corpus/, twenty short documents, and tiny.yaml, a recipe that takes a moment.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"failure": failure, "same": same, "field": field, "cut": cut, "smalldisk": smallDisk, "fill": fill,
		},
		Condition:           condition,
		RequireExplicitExec: true,
	})
}

const tinyRecipe = `data: corpus
out: run
threads: 1
steps: 4
batch_size: 2
sequence_length: 32
model:
  hidden_size: 16
  num_hidden_layers: 1
  num_attention_heads: 2
tokenizer:
  vocab_size: 300
eval:
  every: 2
checkpoint:
  every: 2
`

func setUpScript(e *testscript.Env) error {
	corpus := filepath.Join(e.WorkDir, "corpus")
	if err := os.Mkdir(corpus, 0o755); err != nil {
		return err
	}
	for i := range 20 {
		text := strings.Repeat(fmt.Sprintf("Document %d says that %d comes before %d.\n", i, i, i+1), 12)
		if err := os.WriteFile(filepath.Join(corpus, fmt.Sprintf("%02d.txt", i)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("GORACE", os.Getenv("GORACE")) // whose settings hold for hone, too
	return os.WriteFile(filepath.Join(e.WorkDir, "tiny.yaml"), []byte(tinyRecipe), 0o644)
}

// failure runs hone, which must exit with 1 and print, as the last line on stderr, one line that
// matches the first argument: failure 'unknown key' pretrain dat=x.
func failure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: failure REGEXP ARG...")
	}
	if err := ts.Exec("hone", args[1:]...); err == nil {
		ts.Fatalf("hone %s succeeds", args[1:])
	} else if !strings.HasSuffix(err.Error(), "exit status 1") {
		ts.Fatalf("hone %s: %v; want exit status 1", args[1:], err)
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stderr")), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "hone: ") || !regexp.MustCompile(args[0]).MatchString(last) {
		ts.Fatalf("the error is %q; want one that matches %q", last, args[0])
	}
}

// same compares two files, byte for byte.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] same FILE FILE")
	}
	if equal := ts.ReadFile(args[0]) == ts.ReadFile(args[1]); equal == neg {
		ts.Fatalf("%s and %s are the same: %v", args[0], args[1], equal)
	}
}

// field wants one JSON object on the last stdout with the fields that are named, a.b for one inside another.
func field(ts *testscript.TestScript, neg bool, args []string) {
	var all map[string]any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	if err := d.Decode(&all); err != nil {
		ts.Fatalf("stdout is no JSON object: %v", err)
	}
	if d.More() {
		ts.Fatalf("stdout holds more than one object")
	}
	for _, path := range args {
		var v any = all
		for name := range strings.SplitSeq(path, ".") {
			inner, _ := v.(map[string]any)
			v = inner[name]
		}
		if (v == nil) != neg {
			ts.Fatalf("%s of the result is %v", path, v)
		}
	}
}

// cut keeps the first half of a file.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text[:len(text)/2]), 0o644))
}

// condition knows "root", which may read every file, and "smalldisk", whether a small disk can be had.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "smalldisk":
		dir, err := os.MkdirTemp("", "hone-disk-")
		if err != nil {
			return false, err
		}
		defer os.Remove(dir)
		unmount, err := mountSmall(dir)
		if err == nil {
			unmount()
		}
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// smallDisk mounts a disk of one MiB at a new folder.
func smallDisk(ts *testscript.TestScript, _ bool, args []string) {
	unmount, err := mountSmall(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(unmount)
}

// fill writes a file until the disk is full.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	for _, size := range []int{1 << 12, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(bytes.Repeat([]byte{1}, size))
		}
	}
}

// allCommands are those of all groups.
func allCommands(yield func(func(*cli.App) *cobra.Command) bool) {
	for _, g := range groups {
		for _, c := range g.commands {
			if !yield(c) {
				return
			}
		}
	}
}

// hone's commands all have help with an example.
func TestHelp(t *testing.T) {
	for make := range allCommands {
		c := make(&cli.App{})
		var out bytes.Buffer
		if code := run(context.Background(), &cli.App{Out: &out, Err: &out}, []string{c.Name(), "--help"}); code != 0 {
			t.Errorf("hone %s --help: exit code %d", c.Name(), code)
		}
		for _, want := range []string{"Usage:", "Examples:", "hone " + c.Name()} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("hone %s --help has no %q", c.Name(), want)
			}
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("hone %s: a short description and an example are needed", c.Name())
		}
	}
}
