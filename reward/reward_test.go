package reward

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustParse(t *testing.T, spec string, o Options) Source {
	t.Helper()
	s, ok, err := Parse(spec, o)
	if err != nil || !ok {
		t.Fatalf("%s: %v, %v", spec, ok, err)
	}
	return s
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		spec   string
		answer Answer
		want   float64
	}{
		{"go_parser", Answer{Prompt: "func f() int {\n", Text: "\treturn 1\n}\n"}, 1},
		{"go_parser", Answer{Prompt: "func f() int {\n", Text: "\treturn 1\n"}, 0},
		{"go_parser", Answer{Prompt: "Write a function.", Text: "```go\nfunc f() {}\n```\n"}, 1},
		{"go_parser", Answer{Prompt: "Write a function.", Text: "```go\nfunc f() {\n```\n"}, 0},
		{"go_parser", Answer{Prompt: "Write a function.", Text: "package p\nvar x = 1"}, 1},
		{"go_parser", Answer{Prompt: "", Text: ""}, 0},
		{"gofmt", Answer{Prompt: "func f() int {\n", Text: "\treturn 1\n}\n"}, 1},
		{"gofmt", Answer{Prompt: "func f() int {\n", Text: "  return 1\n}\n"}, 0},
		{"length:10", Answer{Tokens: 10}, 0},
		{"length:10", Answer{Tokens: 5}, -0.5},
		{"length:10", Answer{Tokens: 100}, -1},
		{"format:^\\d+$", Answer{Text: "42"}, 1},
		{"format:^\\d+$", Answer{Text: "42!"}, 0},
	} {
		s := mustParse(t, c.spec, Options{})
		if got, err := s.Score(context.Background(), []Answer{c.answer}); err != nil || got[0] != c.want {
			t.Errorf("%s of %+v is %v, want %v, %v", c.spec, c.answer, got, c.want, err)
		}
	}
	if _, _, err := Parse("length:", Options{}); err == nil || !strings.Contains(err.Error(), `reward "length:" has no number of tokens`) {
		t.Errorf("length without a number: %v", err)
	}
	for _, bad := range []string{"length:", "length:-1", "format:(", "program:", "program:/does/not/exist", "program:" + t.TempDir()} {
		if _, ok, err := Parse(bad, Options{}); !ok || err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if _, ok, err := Parse("runs/reward/model", Options{}); ok || err != nil {
		t.Errorf("a folder is a rule: %v", err)
	}
}

// script writes an executable for the shell.
func script(t *testing.T, body string) string {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skipf("no /bin/sh to run a reward program, a shell script: %v", err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	return "program:" + path
}

func TestProgram(t *testing.T) {
	answers := []Answer{{Prompt: "p", Text: "a\nb"}, {Text: "c"}, {Text: "d"}}
	spec := script(t, `while read -r line; do case "$line" in *'a\nb'*) echo 1.5;; *'"c"'*) echo '{"score": -2}';; *) echo 0;; esac; done`)
	for _, suffix := range []string{"", " with spaces"} {
		if path := strings.TrimPrefix(spec, "program:"); suffix != "" {
			if err := os.Rename(path, path+suffix); err != nil {
				t.Fatal(err)
			}
		}
		got, err := mustParse(t, spec+suffix, Options{Timeout: time.Minute}).Score(context.Background(), answers)
		if err != nil || !slices.Equal(got, []float64{1.5, -2, 0}) {
			t.Errorf("a program%s: %v, %v", suffix, got, err)
		}
	}
}

// TestBadPrograms: each is one clear error and none hangs.
func TestBadPrograms(t *testing.T) {
	answers := slices.Repeat([]Answer{{Text: "a"}}, 3)
	for body, want := range map[string]string{
		"echo 1; echo 2":                        "gave 2 scores for 3 answers",
		"echo 1; echo 2; echo 3; echo 4":        "prints more than the 3 scores",
		"echo 1; echo good; echo 3":             `printed "good" for answer 2`,
		"echo 1; echo NaN; echo 3":              "gave the score NaN to answer 2",
		"echo 1; echo '{\"score\": null}'":      "neither a number nor an object",
		"echo broken >&2; exit 3":               "exit status 3: broken",
		"sleep 60":                              "has not answered after",
		"while :; do echo 1; done":              "prints more than",
		"head -c 100000 /dev/zero | tr '\\0' 1": "prints a line of more than 65536 bytes for answer 1",
	} {
		timeout := time.Minute
		if body == "sleep 60" {
			timeout = 500 * time.Millisecond
		}
		s := mustParse(t, script(t, body), Options{Timeout: timeout, Retries: 1})
		begin := time.Now()
		if _, err := s.Score(context.Background(), answers); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tried 2 times") {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("%s took %v", body, took)
		}
	}
	spec := script(t, "echo 1")
	s := mustParse(t, spec, Options{})
	if err := os.Remove(strings.TrimPrefix(spec, "program:")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Score(context.Background(), answers); err == nil || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("a program that is gone: %v", err)
	}
	_, err := mustParse(t, script(t, "exit 3"), Options{Timeout: time.Minute}).Score(context.Background(), answers)
	if err == nil || strings.Contains(err.Error(), "tried") {
		t.Errorf("a program that is tried once: %v", err)
	}
}

// TestRetry: a program that fails once is asked again; one that is cancelled is not.
func TestRetry(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	spec := script(t, "if [ ! -e '"+mark+"' ]; then touch '"+mark+"'; exit 1; fi; echo 7")
	got, err := mustParse(t, spec, Options{Timeout: time.Minute, Retries: 1}).Score(context.Background(), []Answer{{}})
	if err != nil || got[0] != 7 {
		t.Errorf("%v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := mustParse(t, spec, Options{Retries: 5}).Score(ctx, []Answer{{}}); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if err := check([]float64{math.Inf(1)}, 1); err == nil {
		t.Error("an infinite score was taken")
	}
}
