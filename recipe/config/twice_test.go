package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/recipe/config"
	"hone/recipe/lm"
)

// TestKeysGivenTwice: a key may stand in its group or with a point, but once in a file, wherever the other is.
func TestKeysGivenTwice(t *testing.T) {
	for _, text := range []string{"optimizer.beta1: 0.5\n", "optimizer:\n  beta1: 0.5\n", "optimizer: {beta1: 0.5, beta2: 0.95}\noptimizer.eps: 1e-8\n"} {
		c := lm.DefaultPretrain()
		if err := config.Decode(&c, "r.yaml", []byte(text)); err != nil || c.Optimizer.Beta1 != 0.5 {
			t.Errorf("%q: beta1 is %v, %v", text, c.Optimizer.Beta1, err)
		}
	}
	for text, want := range map[string]string{
		"optimizer.beta1: 0.5\noptimizer:\n  beta1: 0.9\n":      "r.yaml:3: optimizer.beta1 was given in line 1 already; leave one of them out",
		"optimizer:\n  beta1: 0.9\noptimizer.beta1: 0.5\n":      "r.yaml:3: optimizer.beta1 was given in line 2 already",
		"optimizer: {beta1: 1}\noptimizer: {beta2: 1}\n":        "optimizer was given in line 1 already",
		"optimizer: &o {beta1: 0.9}\nsteps: 3\noptimizer: *o\n": "optimizer was given in line 1 already",
	} {
		c := lm.DefaultPretrain()
		if err := config.Decode(&c, "r.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	c := lm.DefaultPretrain()
	if err := config.Override(&c, []string{"steps=3", "steps=4"}); err == nil || err.Error() != "steps is given twice on the command line; leave one of them out" {
		t.Errorf("twice in the arguments: %v", err)
	}
}

// TestNamesAreText: no item of a list may hold what no path may, however it is written.
func TestNamesAreText(t *testing.T) {
	for _, text := range []string{"data: [a.txt, \"b\\0c\"]", "data: \"b\\0c\"", "out: \"b\\0c\""} {
		c := lm.DefaultPretrain()
		if err := config.Decode(&c, "r.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "is not valid UTF-8 text") || !strings.HasPrefix(err.Error(), "r.yaml:1: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	c := lm.DefaultPretrain()
	if err := config.Override(&c, []string{"data=a,b\x00c"}); err == nil || !strings.Contains(err.Error(), "data is not valid UTF-8 text") {
		t.Errorf("in an argument: %v", err)
	}
	if err := config.Override(&c, []string{"data=a,,b"}); err == nil || err.Error() != "data has an empty item; leave it out" {
		t.Errorf("an empty item: %v", err)
	}
}

// TestRecipeFiles: what is no file of a recipe is told with what to write.
func TestRecipeFiles(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, 1<<20+1), 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "there is no file " + filepath.Join(dir, "none") + "; name one that is there, or give keys alone, as path=value without spaces",
		dir:                        dir + " is a folder; give data and models by their keys, as in data=" + dir,
		large:                      large + " is no file of at most 1048576 bytes and so no recipe; if it is data, write data=" + large,
	} {
		c := lm.DefaultPretrain()
		if err := config.Load(&c, path, nil); err == nil || err.Error() != "read the recipe: "+want {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	a, b := "x", ""
	if got := config.Given(&a, &b); len(got) != 1 || got[0] != &a {
		t.Errorf("%d keys are set", len(got))
	}
}
