package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hone/recipe/config"
	"hone/recipe/lm"
	"hone/recipe/rl"
)

func TestDecode(t *testing.T) {
	c := lm.DefaultPretrain()
	err := config.Decode(&c, "r.yaml", []byte(`
data: [a.txt, "b,c.txt"]
out: runs/x
steps: 1e4
seed: 18446744073709551615
model:
  hidden_size: 64
  tie_word_embeddings: yes
tokenizer: tok/
optimizer:
  learning_rate: 3e-4
checkpoint:
  # nothing set
validation_data: only.txt
`))
	if err != nil {
		t.Fatal(err)
	}
	want := lm.DefaultPretrain()
	want.Data = []string{"a.txt", "b,c.txt"}
	want.ValidationData = []string{"only.txt"}
	want.Out, want.Steps, want.Seed = "runs/x", 10000, 1<<64-1
	want.Model.HiddenSize, want.Model.TieWordEmbeddings = new(int), new(bool)
	*want.Model.HiddenSize, *want.Model.TieWordEmbeddings = 64, true
	want.Tokenizer.Path = "tok/"
	want.Optimizer.LearningRate = 3e-4
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"stepz: 3", `r.yaml:1: unknown key "stepz"; did you mean "steps"?`},
		{"out: a\noptimizer:\n  learning_rat: 3", `r.yaml:3: unknown key "optimizer.learning_rat"; did you mean "optimizer.learning_rate"?`},
		{"learning_rate: 3", `did you mean "optimizer.learning_rate"?`},
		{"xyzzy: 3", `unknown key "xyzzy"; --help lists the keys`},
		{"optimiser: {eps: 3}", `r.yaml:1: unknown key "optimiser"; did you mean "optimizer"?`},
		{"model: {hiden_size: 3}", `did you mean "model.hidden_size"?`},
		{"steps: 1\nout: x\nsteps: 2", "r.yaml:3: steps was given in line 1 already"},
		{"steps: many", `r.yaml:1: steps: "many" is not a whole number`},
		{"steps: 1.5", "not a whole number"},
		{"steps: 1e30", "not a whole number"},
		{"seed: -1", "not a whole number from 0 up"},
		{"resume: maybe", "not true or false"},
		{"optimizer: {learning_rate: .nan}", "not a number"},
		{"optimizer: {learning_rate: inf}", "not a number"},
		{"steps:", "steps has no value"},
		{"steps: [1]", "steps is a group or list of values here; give it one of the type whole number"},
		{"steps: {a: 1}", "steps is a group or list of values here; give it one of the type whole number"},
		{"optimizer: 3", "optimizer is a group of keys"},
		{"data: [[a]]", "item 1 of data"},
		{"data: [a, '']", "data has an empty item"},
		{"? [a]\n: 1", "a key must be a plain word"},
		{"- a", "a recipe is a list of lines"},
		{"just text", "a recipe is a list of lines"},
		{"a: [", "r.yaml:1: a value is missing: a comma has none behind it, or a list or group does not end"},
		{"data: [a\nout: x", "r.yaml:1: a list begins with [ and does not end"},
		{"data:\n- a\nmodel: {hidden_size: 3\nout: x\n", "r.yaml:3: a group begins with { and does not end"},
		{"out: x\n\tsteps: 1", "r.yaml:2: a tab stands in the indent"},
		{"model:\n\thidden_size: 8", "r.yaml:2: a tab stands in the indent"},
		{"steps: 1\nout: \"x\ndata: a\n", "r.yaml:2: a quote opens and does not close"},
		{"out: 'x\n---\n", "r.yaml:1: a quote opens and does not close"},
		{"out: a: b", "r.yaml:1: the value has a colon with a space behind it; put the value in quotes"},
		{"data a.txt\n# of it\n\nout: x", "r.yaml:1: the line has no colon; write KEY: VALUE"},
		{"out: x\nsteps 3\n", "r.yaml:2: the line has no colon; write KEY: VALUE"},
		{"out: x\n  steps: 3\n", "r.yaml:2: the line is indented below one that has a value"},
		{"model:\n  hidden_size: 8\n vocab_size: 3\n", "r.yaml:3: the line begins in another column"},
		{"out: %x", "r.yaml:1: a value cannot begin with a sign such as %"},
		{"out: *", "r.yaml:1: a value cannot begin with a sign such as %"},
		{"out: *x", "r.yaml:1: a value cannot begin with a sign such as %"},
		{"steps: 1\nout: \"C:\\models\"", "r.yaml:2: a backslash in double quotes begins an escape; put the value in single quotes"},
		{"out: \"C:\\users\"", "r.yaml:1: a backslash in double quotes"},
		{"out: 'it's mine'", "r.yaml:1: something stands behind the end of a value; put all of it in single quotes, and write a single quote in it twice"},
		{"steps: 1\nout: \"x\" y\n", "r.yaml:2: something stands behind the end of a value"},
		{"data:\n- a\n- \"b\" c\n", "r.yaml:3: something stands behind the end of a value"},
		{"data: [é] ]", "r.yaml:1: a bracket closes here that none has opened"},
		{"out: x\n}\n", "r.yaml:2: a bracket closes here that none has opened"},
		{"data:\n  - a\n - b\n", "r.yaml:3: the line begins in another column"},
		{"data: - a", "r.yaml:1: a list begins behind its key; write it as [A, B]"},
		{"out: >x\n y\n", "r.yaml:1: a value cannot begin with > or |"},
		{"out: \"x\"#y", "r.yaml:1: a comment stands close to the value"},
		{"steps: 1\nout: \xff", "r.yaml:2: a control character or a byte that is no UTF-8; save the recipe as plain text in UTF-8"},
		{"out: a\x00", "r.yaml:1: a control character"},
		{"out: \uffff", "r.yaml:1: not valid YAML: "},
		{"%YAML 3.0 x\n", "r.yaml:1: not valid YAML: "},
		{"out: !!binary aGVsbG8=", "binary"},
		{"steps: 1\n---\nsteps: 2", "r.yaml:3: a second document begins here"},
		{"steps: 1\n...\n---\nsteps: 2", "r.yaml:4: a second document begins here"},
		{"model: &m\n  model: *m", "unknown key"},
	} {
		cfg := lm.DefaultPretrain()
		err := config.Decode(&cfg, "r.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", c.text, err, c.want)
		}
	}
}

// TestDataIsNoRecipe: a file that is named where the recipe stands and is none is most often data, which has a key.
func TestDataIsNoRecipe(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"story.txt", "Once upon a time\nthere was\n", "story.txt:1: a recipe is a list of lines KEY: VALUE; if it is data, write data=story.txt"},
		{"story.txt", "Here it is: one: day\n", "story.txt:1: the value has a colon with a space behind it; put the value in quotes; if it is data, write data=story.txt"},
		{"a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n", "a.jsonl:2: the line stands behind the end of the recipe, which is a list of lines KEY: VALUE; if it is data, write data=a.jsonl"},
		{"a.json", `{"messages": []}`, `a.json:1: unknown key "messages"; --help lists the keys; if it is data, write data=a.json`},
		{"a.gz", "\x1f\x8b\x08", "a.gz is no plain text in UTF-8 and so no recipe; if it is data, write data=a.gz"},
		{"latin.txt", "caf\xe9", "latin.txt is no plain text in UTF-8 and so no recipe; if it is data, write data=latin.txt"},
	} {
		cfg := lm.DefaultPretrain()
		if err := config.Decode(&cfg, c.name, []byte(c.text)); err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
	ppo := rl.DefaultPPO()
	if err := config.Decode(&ppo, "p.jsonl", []byte("[]")); err == nil || !strings.HasSuffix(err.Error(), "; if it is data, write prompts=p.jsonl") {
		t.Errorf("%v", err)
	}
	none := struct{}{}
	if err := config.Decode(&none, "p.txt", []byte("[]")); err == nil || !strings.HasSuffix(err.Error(), "KEY: VALUE") {
		t.Errorf("%v", err)
	}
}

func TestOverride(t *testing.T) {
	c := lm.DefaultPretrain()
	args := []string{"data=a,b", "model.hidden_size=64", "steps=1_000", "out=a=b", "optimizer.beta1=0", "samples.prompts=", "resume=true"}
	if err := config.Override(&c, args); err != nil {
		t.Fatal(err)
	}
	want := lm.DefaultPretrain()
	want.Data, want.Steps, want.Out, want.Resume = []string{"a", "b"}, 1000, "a=b", true
	want.Model.HiddenSize, want.Optimizer.Beta1 = new(int), 0
	*want.Model.HiddenSize = 64
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	// A folder on the command line takes the place of the recipe's new model.
	if err := config.Override(&c, []string{"model=some/dir"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lm.Model{Dir: "some/dir"}, c.Model); diff != "" {
		t.Error(diff)
	}
	for _, e := range []struct{ arg, want string }{
		{"steps", `argument "steps" has no value; write steps=VALUE, without spaces`},
		{"other.yaml", `argument "other.yaml" is not path=value, as in data=VALUE`},
		{"=3", `argument "=3" is not path=value, as in data=VALUE`},
		{"step=3", `did you mean "steps"?`},
		{"checkpoint.evry=3", `did you mean "checkpoint.every"?`},
		{"optimizer.lr=3", `did you mean "optimizer.learning_rate"?`},
		{"lr=3", `did you mean "optimizer.learning_rate"?`},
		{"schedule.warmup=3", `did you mean "schedule.warmup_steps"?`},
		{"schedule=cosine", "schedule is a group of keys; set one of them, as in schedule.name=VALUE"},
		{"steps=", "steps has no value; give it one or leave it out"},
		{"resume=", "resume has no value; give it one or leave it out"},
		{"optimizer.eps=", "optimizer.eps has no value; give it one or leave it out"},
		{"steps=x", `steps: "x" is not a whole number`},
		{"data=a,,b", "empty item"},
		{"out=\xff", "UTF-8"},
	} {
		if err := config.Override(&c, []string{e.arg}); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error %v, want %q", e.arg, err, e.want)
		}
	}
	if err := config.Override(&c, []string{"steps=1", "steps=2"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("given twice: %v", err)
	}
}

func TestLoadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.yaml")
	if err := os.WriteFile(path, []byte("steps: 5\nout: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := lm.DefaultPretrain()
	if err := config.Load(&c, path, []string{"steps=7"}); err != nil || c.Steps != 7 || c.Out != "x" {
		t.Errorf("steps %d, out %q, error %v", c.Steps, c.Out, err)
	}
	if err := config.Load(&c, "resume", nil); err == nil || err.Error() != `argument "resume" has no value; write resume=VALUE, without spaces` {
		t.Errorf("a key for a recipe: %v", err)
	}
	if err := config.Load(&c, filepath.Dir(path), nil); err == nil || !strings.Contains(err.Error(), "is a folder; give data and models by their keys") {
		t.Errorf("a folder for a recipe: %v", err)
	}
	if err := config.Load(&c, path+"x", nil); err == nil || !strings.Contains(err.Error(), "there is no file "+path+"x; name one") {
		t.Errorf("a recipe that does not exist: %v", err)
	}
	if err := config.Load(&c, filepath.Dir(path), nil); err == nil {
		t.Error("a folder was read as a recipe")
	}
}

// TestEveryKeyIsDocumented holds what --help is made of.
func TestEveryKeyIsDocumented(t *testing.T) {
	c := lm.DefaultPretrain()
	seen := make(map[string]config.Field)
	for _, f := range config.Fields(&c) {
		if f.Doc == "" || f.Type == "" {
			t.Errorf("%s has no doc or type", f.Path)
		}
		seen[f.Path] = f
	}
	for _, stable := range []string{"data", "model", "out", "steps", "seed", "resume", "batch_size", "sequence_length",
		"checkpoint.every", "tokenizer.vocab_size", "device", "dtype", "method", "optimizer.learning_rate", "schedule.name", "model.hidden_size"} {
		if _, ok := seen[stable]; !ok {
			t.Errorf("the stable key %s is gone", stable)
		}
	}
	if f := seen["optimizer.eps"]; f.Default != "1e-08" || f.Type != "number" {
		t.Errorf("optimizer.eps is listed as %+v", f)
	}
}

// TestEncodeRoundTrip reads back what Encode writes, whatever stands in the strings.
func TestEncodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := lm.DefaultPretrain()
		text := rapid.StringMatching(`[ -~äß€\n\t]{1,12}`)
		c.Out, c.Method, c.TextField = text.Draw(t, "out"), text.Draw(t, "method"), rapid.SampledFrom([]string{"null", "true", "3", "~", "1e3", "a: b", "#"}).Draw(t, "field")
		c.Data = rapid.SliceOfN(text, 0, 3).Draw(t, "data")
		if len(c.Data) == 0 {
			c.Data = nil
		}
		c.Optimizer.LearningRate = rapid.Float64().Draw(t, "rate")
		c.Seed, c.Steps = rapid.Uint64().Draw(t, "seed"), rapid.Int().Draw(t, "steps")
		if rapid.Bool().Draw(t, "dir") {
			c.Model.Dir = text.Draw(t, "model")
		} else {
			c.Model.RMSNormEps = new(float64)
			*c.Model.RMSNormEps = rapid.Float64Range(0, 1).Draw(t, "eps")
		}
		written, err := config.Encode(&c)
		if err != nil {
			t.Fatal(err)
		}
		back := lm.DefaultPretrain()
		back.Data = []string{"to be replaced"}
		if err := config.Decode(&back, "r.yaml", written); err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if len(back.Data) == 0 {
			back.Data = nil
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Fatalf("%s\n%s", diff, written)
		}
	})
}

// FuzzDecode looks for recipes that crash the reader, or that it reads but cannot write back.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"steps: 3", "model: {hidden_size: 64}", "data: [a, b]", "a: &a [*a]", "? {}\n: 1", "x: !!binary eA==", "model: &m {vocab_size: *m}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4096 {
			return
		}
		c := lm.DefaultPretrain()
		if config.Decode(&c, "r.yaml", text) != nil {
			return
		}
		_ = c.Validate()
		written, err := config.Encode(&c)
		if err != nil {
			t.Fatal(err)
		}
		back := lm.DefaultPretrain()
		if err := config.Decode(&back, "again.yaml", written); err != nil {
			t.Fatalf("%v\nread: %q\nwritten:\n%s", err, text, written)
		}
		if diff := cmp.Diff(config.Flatten(&c), config.Flatten(&back)); diff != "" {
			t.Fatal(diff)
		}
	})
}
