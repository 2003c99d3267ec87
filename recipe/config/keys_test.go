package config

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// keys has a key of each type.
type keys struct {
	Text   string   `yaml:"text" doc:"a text"`
	Flag   bool     `yaml:"flag" doc:"a choice"`
	Whole  int      `yaml:"whole" doc:"a whole number"`
	Large  int64    `yaml:"large" doc:"a large one"`
	Seed   uint64   `yaml:"seed" doc:"from 0 up"`
	Number float64  `yaml:"number" doc:"a number"`
	Single float32  `yaml:"single" doc:"of single precision"`
	List   []string `yaml:"list" doc:"texts"`
	Maybe  *int     `yaml:"maybe" doc:"may be unset"`
	Name   *string  `yaml:"name_of_it" doc:"likewise"`
	Hidden string   // no key
	Left   string   `yaml:"-"`
	Group  inner    `yaml:"group" doc:"keys below"`
	Short  short    `yaml:"short" doc:"a group that a text stands for"`
	shared
}

type inner struct {
	LearningRate float64 `yaml:"learning_rate" doc:"in a group"`
	Deeper       struct {
		Value int `yaml:"value" doc:"two groups deep"`
	} `yaml:"deeper"`
}

// shared are keys that stand beside those of the struct that has them.
type shared struct {
	Steps int `yaml:"steps" doc:"of several recipes"`
}

// short is a group for which a text stands.
type short struct {
	Dir  string `yaml:"dir" doc:"what the text says"`
	Size int    `yaml:"size" doc:"another key"`
}

func (s *short) SetShort(text string) { *s = short{Dir: text} }

func (s *short) Short() string {
	if s.Size == 0 {
		return s.Dir
	}
	return ""
}

// TestValues: what each type takes, and what it refuses in one line that names the key.
func TestValues(t *testing.T) {
	for arg, want := range map[string]func(k *keys) bool{
		"text=":                      func(k *keys) bool { return k.Text == "" },
		"text=a=b, c":                func(k *keys) bool { return k.Text == "a=b, c" },
		"flag=YES":                   func(k *keys) bool { return k.Flag },
		"flag=off":                   func(k *keys) bool { return !k.Flag },
		"whole=-3":                   func(k *keys) bool { return k.Whole == -3 },
		"whole=1e6":                  func(k *keys) bool { return k.Whole == 1_000_000 },
		"whole=2.0":                  func(k *keys) bool { return k.Whole == 2 },
		"whole= 1_000 ":              func(k *keys) bool { return k.Whole == 1000 },
		"large=9007199254740993":     func(k *keys) bool { return k.Large == 1<<53+1 }, // no float holds it
		"large=-9223372036854775808": func(k *keys) bool { return k.Large == math.MinInt64 },
		"seed=18446744073709551615":  func(k *keys) bool { return k.Seed == math.MaxUint64 },
		"number=1e-300":              func(k *keys) bool { return k.Number == 1e-300 },
		"single=0.1":                 func(k *keys) bool { return k.Single == 0.1 },
		"list=":                      func(k *keys) bool { return k.List == nil },
		"list=a,b c,d=e":             func(k *keys) bool { return slices.Equal(k.List, []string{"a", "b c", "d=e"}) },
		`list=[a, b c,"d,e", 1]`:     func(k *keys) bool { return slices.Equal(k.List, []string{"a", "b c", "d,e", "1"}) },
		"list=[]":                    func(k *keys) bool { return k.List == nil },
		"list=['a b',0x10, 1e-3]":    func(k *keys) bool { return slices.Equal(k.List, []string{"a b", "0x10", "1e-3"}) },
		"list=file[0-9].txt":         func(k *keys) bool { return slices.Equal(k.List, []string{"file[0-9].txt"}) },
		"list=[f]ile[0-9]":           func(k *keys) bool { return slices.Equal(k.List, []string{"[f]ile[0-9]"}) },
		"list=[ab]*.go,c[de]":        func(k *keys) bool { return slices.Equal(k.List, []string{"[ab]*.go", "c[de]"}) },
		"maybe=0":                    func(k *keys) bool { return k.Maybe != nil && *k.Maybe == 0 },
		"name_of_it=":                func(k *keys) bool { return k.Name != nil && *k.Name == "" },
		"group.deeper.value=4":       func(k *keys) bool { return k.Group.Deeper.Value == 4 },
		"steps=5":                    func(k *keys) bool { return k.Steps == 5 },
		"short=runs/x":               func(k *keys) bool { return k.Short == short{Dir: "runs/x"} },
		"short.size=3":               func(k *keys) bool { return k.Short == short{Size: 3} },
	} {
		k := keys{Flag: arg == "flag=off", List: []string{"was"}}
		if err := Override(&k, []string{arg}); err != nil || !want(&k) {
			t.Errorf("%s: %+v, %v", arg, k, err)
		}
	}
	for arg, want := range map[string]string{
		"flag=": "flag has no value", "flag=2": "not true or false", "whole=": "whole has no value; give it one or leave it out", "whole=1.5": "not a whole number", "whole=0x10": "not a whole number",
		"whole=99999999999999999999": "not a whole number", "whole=1e17": "not a whole number", "whole=nan": "not a whole number", "seed=-1": "not a whole number from 0 up", "seed=-1e3": "from 0 up",
		"number=": "number has no value", "number=inf": "not a number", "number=1e999": "not a number", "single=1e39": "not a number", "number=1,5": "not a number", "list=a,,b": "list has an empty item",
		"list=[~, a]": "item 1 of list is not a plain value", "list=[[a]]": "item 1 of list is not a plain value", `list=[""]`: "list has an empty item",
		"list=,": "list has an empty item", "maybe=": "maybe has no value; give it one or leave it out", "text=a\x00b": "text is not valid UTF-8", "text=\xff": "text is not valid UTF-8", "Hidden=x": `unknown key "Hidden"`,
		"-=x": "unknown key", "shared.steps=1": `unknown key "shared.steps"; did you mean "steps"?`, "group=1": "group is a group of keys; set one of them, as in group.learning_rate=VALUE",
		"group.deeper=1": "as in group.deeper.value=VALUE", "=x": `argument "=x" is not path=value`,
	} {
		k := keys{}
		if err := Override(&k, []string{arg}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want %q", arg, err, want)
		}
	}
}

// TestNearestKeys: a slip of the fingers, a word in another group, a shortened one and initials lead to the key; what is like none to no key.
func TestNearestKeys(t *testing.T) {
	all := settings(&keys{})
	for path, want := range map[string]string{"txt": "text", "Text": "text", "stepz": "steps", "learning_rate": "group.learning_rate", "group.lr": "group.learning_rate", "lr": "group.learning_rate",
		"group.learning": "group.learning_rate", "name": "name_of_it", "noi": "name_of_it", "group.valeu": "group.deeper.value", "other.steps": "steps", "max_steps": "steps", "training.max_steps": "steps", "num_train_epochs": "", "zzzzzzzz": "", "": ""} {
		if got := nearest(all, path); got != want {
			t.Errorf("%q leads to %q, want %q", path, got, want)
		}
	}
}

// TestYAML: groups, lists, aliases and what is unset; mistakes are told with their line.
func TestYAML(t *testing.T) {
	k := keys{Maybe: new(int), Name: new(string), Text: "was", Group: inner{LearningRate: 1}}
	err := Decode(&k, "r.yaml", []byte("text: &t hello\nlist: [*t, 3, true]\nmaybe:\nname_of_it: ~\nflag: on\ngroup:\n  deeper: {value: 0x}\n"))
	if err == nil || err.Error() != `r.yaml:7: group.deeper.value: "0x" is not a whole number` {
		t.Errorf("error %v", err)
	}
	if k.Text != "hello" || !slices.Equal(k.List, []string{"hello", "3", "true"}) || k.Maybe != nil || k.Name != nil || !k.Flag || k.Group.LearningRate != 1 {
		t.Errorf("%+v", k)
	}
	for _, nothing := range []string{"", "# a comment\n", "---\n", "~", "group:\n", "short:\n"} {
		k := keys{Text: "was", Short: short{Dir: "d"}}
		if err := Decode(&k, "r.yaml", []byte(nothing)); err != nil || k.Text != "was" || k.Short.Dir != "d" {
			t.Errorf("%q: %+v, %v", nothing, k, err)
		}
	}
	for text, want := range map[string]string{
		"text: a\ntext: b": "r.yaml:2: text was given in line 1 already", "group: {learning_rate: 1}\ngroup: {}": "r.yaml:2: group was given in line 1 already",
		"steps: ~": "r.yaml:1: steps has no value", "list: {a: 1}": "r.yaml:1: list is a group or list of values here", "list: [~]": "item 1 of list is not a plain value",
		"short: [a]": "short is a group or list of values here", "a: 1\n---\nb: 2": "r.yaml:", "\xff": "r.yaml:", "text: \"a\\0b\"": "text is not valid UTF-8", "group: &g\n  deeper: *g": "r.yaml:",
	} {
		if err := Decode(&keys{}, "r.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// TestFieldsAndChanges: every key has its type, default and text; of a recipe only what is not as usual is written, and reads back.
func TestFieldsAndChanges(t *testing.T) {
	k := keys{Text: "x", List: []string{"a", "b"}, Single: 0.1, Short: short{Dir: "d"}}
	var got []string
	for _, f := range Fields(&k) {
		got = append(got, strings.Join([]string{f.Path, f.Type, f.Default}, "|"))
		if f.Doc == "" {
			t.Errorf("%s has no text", f.Path)
		}
	}
	want := []string{"text|text|x", "flag|true/false|false", "whole|whole number|0", "large|whole number|0", "seed|whole number|0", "number|number|0", "single|number|0.1", "list|list|a,b", "maybe|whole number|",
		"name_of_it|text|", "group.learning_rate|number|0", "group.deeper.value|whole number|0", "short|text|d", "short.dir|text|d", "short.size|whole number|0", "steps|whole number|0"}
	if !slices.Equal(got, want) {
		t.Errorf("keys %q\nwant %q", got, want)
	}
	changed := k
	changed.Whole, changed.Group.Deeper.Value, changed.Maybe, changed.List = 3, 4, new(int), nil
	text, err := EncodeChanged(&changed, &k)
	if err != nil {
		t.Fatal(err)
	}
	if flat := strings.Join(strings.Fields(string(text)), " "); flat != "whole: 3 list: [] maybe: 0 group: deeper: value: 4" {
		t.Errorf("written: %s", text)
	}
	back := k
	if err := Decode(&back, "r.yaml", text); err != nil || back.Whole != 3 || back.Group.Deeper.Value != 4 || back.Maybe == nil || len(back.List) != 0 || back.Text != "x" {
		t.Errorf("read back %+v, %v", back, err)
	}
	if flat := Flatten(&k); flat["single"] != "0.1" || flat["list"] != "a,b" || flat["short"] != "d" {
		t.Errorf("flat %v", flat)
	} else if _, set := flat["maybe"]; set {
		t.Errorf("what is not set is %q", flat["maybe"])
	}
	a, b := "x", ""
	if set := Given(&a, &b); len(set) != 1 || set[0] != &a {
		t.Errorf("given %v", set)
	}
}

// TestSavedRecipesAreLoaded with arguments over what stands there; files that are no recipes are refused.
func TestSavedRecipesAreLoaded(t *testing.T) {
	dir := t.TempDir()
	k := keys{Text: "x: y # z", Number: 1e-8, Seed: math.MaxUint64, Short: short{Size: 2}}
	if err := Save(dir, &k); err != nil {
		t.Fatal(err)
	}
	var back keys
	if err := Load(&back, filepath.Join(dir, FileName), []string{"steps=7"}); err != nil || back.Text != k.Text || back.Number != k.Number || back.Seed != k.Seed || back.Short != k.Short || back.Steps != 7 {
		t.Errorf("%+v, %v", back, err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, 1<<20+1), 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{large: "is no file of at most 1048576 bytes", dir: "is a folder", filepath.Join(dir, "no.yaml"): "there is no file", filepath.Join(large, "x"): "read the recipe"} {
		if err := Load(&back, path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
	if err := Save(filepath.Join(large, "x"), &k); err == nil {
		t.Error("a recipe was written below a file")
	}
}
