package recipe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDecode(t *testing.T) {
	c := DefaultPretrain()
	err := Decode(&c, "r.yaml", []byte(`
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
	want := DefaultPretrain()
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
		{"steps: [1]", "steps takes whole number"},
		{"steps: {a: 1}", "steps takes whole number"},
		{"optimizer: 3", "optimizer is a group of keys"},
		{"data: [[a]]", "item 1 of data"},
		{"data: [a, '']", "data has an empty item"},
		{"? [a]\n: 1", "a key must be a plain word"},
		{"- a", "a recipe is a list of lines"},
		{"just text", "a recipe is a list of lines"},
		{"a: [", "r.yaml: not valid YAML"},
		{"out: !!binary aGVsbG8=", "binary"},
		{"model: &m\n  model: *m", "unknown key"},
	} {
		cfg := DefaultPretrain()
		err := Decode(&cfg, "r.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", c.text, err, c.want)
		}
	}
}

func TestOverride(t *testing.T) {
	c := DefaultPretrain()
	args := []string{"data=a,b", "model.hidden_size=64", "steps=1_000", "out=a=b", "optimizer.beta1=0", "samples.prompts=", "resume=true"}
	if err := Override(&c, args); err != nil {
		t.Fatal(err)
	}
	want := DefaultPretrain()
	want.Data, want.Steps, want.Out, want.Resume = []string{"a", "b"}, 1000, "a=b", true
	want.Model.HiddenSize, want.Optimizer.Beta1 = new(int), 0
	*want.Model.HiddenSize = 64
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	// A folder on the command line takes the place of the recipe's new model.
	if err := Override(&c, []string{"model=some/dir"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Model{Dir: "some/dir"}, c.Model); diff != "" {
		t.Error(diff)
	}
	for _, e := range []struct{ arg, want string }{
		{"steps", "neither a recipe file nor path=value"},
		{"step=3", `did you mean "steps"?`},
		{"checkpoint.evry=3", `did you mean "checkpoint.every"?`},
		{"optimizer.lr=3", `did you mean "optimizer.learning_rate"?`},
		{"lr=3", `did you mean "optimizer.learning_rate"?`},
		{"schedule.warmup=3", `did you mean "schedule.warmup_steps"?`},
		{"schedule=cosine", "schedule is a group of keys; set one of them, as in schedule.name=VALUE"},
		{"steps=x", `steps: "x" is not a whole number`},
		{"data=a,,b", "empty item"},
		{"out=\xff", "UTF-8"},
	} {
		if err := Override(&c, []string{e.arg}); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error %v, want %q", e.arg, err, e.want)
		}
	}
	if err := Override(&c, []string{"steps=1", "steps=2"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("given twice: %v", err)
	}
}

func TestLoadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.yaml")
	if err := os.WriteFile(path, []byte("steps: 5\nout: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := DefaultPretrain()
	if err := LoadConfig(&c, path, []string{"steps=7"}); err != nil || c.Steps != 7 || c.Out != "x" {
		t.Errorf("steps %d, out %q, error %v", c.Steps, c.Out, err)
	}
	if err := LoadConfig(&c, path+"x", nil); err == nil {
		t.Error("a recipe that does not exist was read")
	}
	if err := LoadConfig(&c, filepath.Dir(path), nil); err == nil {
		t.Error("a folder was read as a recipe")
	}
}

// TestEveryKeyIsDocumented holds what --help is made of.
func TestEveryKeyIsDocumented(t *testing.T) {
	c := DefaultPretrain()
	seen := make(map[string]Field)
	for _, f := range Fields(&c) {
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
		c := DefaultPretrain()
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
		written, err := Encode(&c)
		if err != nil {
			t.Fatal(err)
		}
		back := DefaultPretrain()
		back.Data = []string{"to be replaced"}
		if err := Decode(&back, "r.yaml", written); err != nil {
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
		c := DefaultPretrain()
		if Decode(&c, "r.yaml", text) != nil {
			return
		}
		_ = c.Validate()
		written, err := Encode(&c)
		if err != nil {
			t.Fatal(err)
		}
		back := DefaultPretrain()
		if err := Decode(&back, "again.yaml", written); err != nil {
			t.Fatalf("%v\nread: %q\nwritten:\n%s", err, text, written)
		}
		if diff := cmp.Diff(Flatten(&c), Flatten(&back)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestValidate has one line for each thing that can be wrong.
func TestValidate(t *testing.T) {
	good := []string{"data=a.txt", "out=x"}
	c := DefaultPretrain()
	if err := Override(&c, good); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	for _, e := range []struct{ args, want string }{
		{"data=", "data is not set"},
		{"out=", "out is not set"},
		{"steps=-1", "steps is -1"},
		{"batch_size=0", "batch_size is 0"},
		{"sequence_length=1", "sequence_length is 1"},
		{"gradient_accumulation_steps=0", "gradient_accumulation_steps is 0"},
		{"dropout=1", "dropout is 1"},
		{"z_loss=-1", "z_loss"},
		{"label_smoothing=1", "label_smoothing"},
		{"validation_fraction=1", "validation_fraction is 1"},
		{"on_bad_record=ignore", "on_bad_record"},
		{"text_field=", "text_field"},
		{"tokenizer.vocab_size=100", "vocab_size 100 is too small"},
		{"tokenizer.pattern=gpt9", "tokenizer"},
		{"method=lora", "method is"},
		{"device=tpu", "device is"},
		{"dtype=f16", "dtype is"},
		{"dtype=i32", "dtype is"},
		{"save_dtype=u8", "save_dtype is"},
		{"shard_size=5XB", `shard_size: size "5XB" is unknown`},
		{"threads=-1", "threads is -1"},
		{"recompute=some", "recompute is"},
		{"recompute=-2", "recompute is"},
		{"model.model_type=rnn", "model.model_type is"},
		{"model.hidden_size=100 model.num_attention_heads=3", "not a multiple of model.num_attention_heads"},
		{"model.hidden_size=-4", "model.hidden_size is -4"},
		{"model.hidden_size=12 model.num_attention_heads=4", "even"},
		{"model.num_key_value_heads=3", "model.num_key_value_heads"},
		{"model.max_position_embeddings=16", "sequence_length is 256 but model.max_position_embeddings is only 16"},
		{"model.n_embd=16", "model.n_embd is a key of gpt2 models"},
		{"model.model_type=gpt2 model.rope_theta=5", "model.rope_theta is a key of llama models"},
		{"model.model_type=gpt2 model.n_embd=10 model.n_head=3", "model.n_embd is 10"},
		{"model=dir model.hidden_size=5", "leave one of the two out"},
		{"model.rms_norm_eps=0", "model.rms_norm_eps is 0"},
		{"optimizer.name=sgd", "optimizer.name"},
		{"optimizer.learning_rate=0", "optimizer.learning_rate"},
		{"optimizer.beta1=1", "optimizer.beta1"},
		{"optimizer.beta2=-1", "optimizer.beta2"},
		{"optimizer.eps=0", "optimizer.eps"},
		{"optimizer.weight_decay=-1", "optimizer.weight_decay"},
		{"optimizer.max_grad_norm=-1", "optimizer.max_grad_norm"},
		{"optimizer.on_nonfinite=hope", "optimizer.on_nonfinite"},
		{"optimizer.max_skips=-1", "optimizer.max_skips"},
		{"schedule.name=cosin", "schedule.name is"},
		{"schedule.warmup_steps=-1", "schedule.warmup_steps is -1"},
		{"eval.every=-1", "eval.every"},
		{"eval.max_tokens=-1", "eval.max_tokens"},
		{"early_stopping.mode=up", "early_stopping.mode"},
		{"early_stopping.patience=0", "early_stopping.patience"},
		{"early_stopping.metric=loss validation_fraction=0", "early_stopping.metric needs evaluations"},
		{"checkpoint.keep_best=true validation_fraction=0", "checkpoint.keep_best needs"},
		{"checkpoint.every=-1", "checkpoint.every"},
		{"checkpoint.seconds=-1", "checkpoint.seconds"},
		{"checkpoint.keep_last=-1", "checkpoint.keep_last"},
		{"samples.every=-1", "samples.every"},
		{"samples.max_tokens=0", "samples.max_tokens"},
		{"samples.temperature=-1", "samples.temperature"},
	} {
		c := DefaultPretrain()
		if err := Override(&c, good); err != nil {
			t.Fatal(err)
		}
		if err := Override(&c, strings.Fields(e.args)); err != nil {
			t.Fatalf("%s: %v", e.args, err)
		}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error %v, want %q", e.args, err, e.want)
		}
	}
}

func TestNewConfig(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", `{"model_type":"llama","vocab_size":300,"hidden_size":256,"intermediate_size":704,"num_hidden_layers":4,"num_attention_heads":4,"max_position_embeddings":32}`},
		{"model.hidden_size=64 model.vocab_size=512", `{"model_type":"llama","vocab_size":512,"hidden_size":64,"intermediate_size":192,"num_hidden_layers":4,"num_attention_heads":1,"max_position_embeddings":32}`},
		{"model.model_type=gpt2 model.hidden_size=128 model.num_hidden_layers=2", `{"model_type":"gpt2","vocab_size":300,"n_embd":128,"n_layer":2,"n_head":2,"n_positions":32}`},
	} {
		p := DefaultPretrain()
		if err := Override(&p, strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		got, err := p.Model.NewConfig(300, 32)
		if text := strings.NewReplacer("\n", "", " ", "").Replace(string(got)); err != nil || text != c.want {
			t.Errorf("%s: %s, %v; want %s", c.args, text, err, c.want)
		}
	}
	m := Model{VocabSize: new(int)}
	*m.VocabSize = 10
	if _, err := m.NewConfig(300, 32); err == nil || !strings.Contains(err.Error(), "model.vocab_size is 10") {
		t.Errorf("a vocabulary that is too small: %v", err)
	}
}
