package lm

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/chat"
	"hone/data"
	"hone/device/cpu"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/tokenizer"
	"hone/train"
)

// TestSources: entries of data with weights are sources of their own, whose share of the batches is the
// weights' and whose held-out losses are told apart.
func TestSources(t *testing.T) {
	from := base(t)
	both := recipetest.ExampleFile(t, "completion") + "," + recipetest.ExampleFile(t, "messages")
	_, events, err := tune(t, tinySFT(t, from, both, filepath.Join(t.TempDir(), "run"), "steps=4", "chat_template=zephyr", "data_weights=3,1", "validation_fraction=0.1"))
	if err != nil {
		t.Fatal(err)
	}
	m := evaluations(events)[0]
	if a, b := m["loss/completion"], m["loss/messages"]; a == 0 || b == 0 || a == b || m["loss"] < min(a, b) || m["loss"] > max(a, b) {
		t.Errorf("the metrics are %v", m)
	}
	for _, e := range events {
		if e, ok := e.(train.InfoEvent); ok && e.Values["train_examples"] != nil && e.Values["train_examples"].(int64) < 200 {
			t.Errorf("the examples of one source only: %v", e.Values)
		}
	}
	for args, want := range map[string]string{"data_weights=1": "give each entry one", "data_weights=1,x": "give numbers above 0", "data_temperature=0": "must be above 0"} {
		_, _, err := tune(t, tinySFT(t, from, both, filepath.Join(t.TempDir(), "run"), "steps=1", args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestShares(t *testing.T) {
	from := base(t)
	for _, c := range []struct {
		args []string
		want float64 // of the first source
	}{
		{[]string{"data_weights=3,1"}, 0.75},
		{[]string{"data_weights=9,1", "data_temperature=2"}, 0.75},
		{[]string{"data_temperature=1e9"}, 0.5},
	} {
		both := recipetest.ExampleFile(t, "completion") + "," + recipetest.ExampleFile(t, "messages")
		config := tinySFT(t, from, both, filepath.Join(t.TempDir(), "run"), append([]string{"steps=1", "chat_template=zephyr"}, c.args...)...)
		if err := config.Validate(); err != nil {
			t.Fatal(err)
		}
		dev := cpu.New(cpu.Options{Threads: 1})
		s := &tuning{c: config}
		r := &recipe.Run{Stage: s, Training: &config.Training, Recipe: config, From: config.Model, Env: recipe.Env{Device: dev}.WithDefaults(), Folder: recipe.Folder{Dir: t.TempDir()}}
		if err := s.OpenData(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		if got := s.shares(); len(got) != 2 || math.Abs(got[0]-c.want) > 1e-6 || math.Abs(got[0]+got[1]-1) > 1e-12 {
			t.Errorf("%v: shares %v", c.args, got)
		}
		s.Close()
		dev.Close()
	}
}

// TestSourceNames: losses are told apart by names that are as short as they can be.
func TestSourceNames(t *testing.T) {
	for _, c := range []struct{ paths, want []string }{
		{[]string{"data/chat.jsonl", "more/sums.parquet"}, []string{"chat", "sums"}},
		{[]string{"chat/"}, []string{"chat"}},
		{[]string{"a/train.jsonl", "b/train.jsonl"}, []string{"a/train", "b/train"}},
		{[]string{"x/a/train.jsonl", "y/a/train.jsonl", "z/other.csv"}, []string{"x/a/train", "y/a/train", "z/other"}},
		{[]string{"train.jsonl", "b/train.jsonl"}, []string{"train", "b/train"}},
		{[]string{"a.jsonl", "a.csv"}, []string{"a.jsonl", "a.csv"}},
		{[]string{"a.jsonl", "a.jsonl"}, []string{"a.jsonl", "a.jsonl"}},
		{[]string{"wiki/**/*.jsonl", "code/**/*.jsonl"}, []string{"wiki/**/*", "code/**/*"}},
		{nil, nil},
	} {
		if got := sourceNames(c.paths); !slices.Equal(got, c.want) {
			t.Errorf("%q are called %q, want %q", c.paths, got, c.want)
		}
	}
}

// TestEncoding: tokens of examples are made anew where another begin or end of a text, or another template,
// would give others.
func TestEncoding(t *testing.T) {
	docs := func(yield func([]byte, error) bool) { yield([]byte("x"), nil) }
	seen := map[string]string{}
	for _, c := range []struct{ bos, eos, tools, name string }{{}, {bos: "<s>"}, {eos: "</s>"}, {bos: "<s>", eos: "</s>"}, {tools: "tools"}, {name: "</s>"}} {
		tok, err := tokenizer.Train(context.Background(), docs, tokenizer.TrainConfig{VocabSize: 258, SpecialTokens: []string{"<s>", "</s>"}, BOS: c.bos, EOS: c.eos})
		if err != nil {
			t.Fatal(err)
		}
		template, err := chat.New("{{ eos_token }}", c.tools, chat.Tokens{EOS: c.name})
		if err != nil {
			t.Fatal(err)
		}
		key := (&tuning{c: &SFT{}, template: template}).encoding(tok)
		if other, twice := seen[key]; twice {
			t.Errorf("%+v is encoded as %s", c, other)
		}
		seen[key] = fmt.Sprintf("%+v", c)
	}
}

// TestCopiesAreHeldOutTogether: records that differ in what the model does not see - an id, the order of keys, white space - are on one side.
func TestCopiesAreHeldOutTogether(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "{\"prompt\": \"question %d\", \"completion\": \" answer %d\", \"id\": 1}\n", i, i)
		fmt.Fprintf(&b, "{\"id\":2,\"completion\":\" answer %d\",\"prompt\":\"question %d\",\"history\":null}\n", i, i)
	}
	path := filepath.Join(t.TempDir(), "twice.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	config := tinySFT(t, base(t), path, filepath.Join(t.TempDir(), "run"), "steps=1", "validation_fraction=0.1")
	s, r := &tuning{c: config}, &recipe.Run{Training: &config.Training, Folder: recipe.Folder{Dir: t.TempDir()}, Env: recipe.Env{}.WithDefaults()}
	if err := cmp.Or(config.Validate(), s.openTokenizer(r), s.openExamples(t.Context(), r)); err != nil {
		t.Fatal(err)
	}
	side := map[string]bool{}
	for _, store := range []*data.Store{s.sources[0].held, s.sources[0].train} {
		for d := range store.Documents() {
			key, held := fmt.Sprint(s.marks(store, d)), store == s.sources[0].held
			if before, ok := side[key]; ok && before != held {
				t.Errorf("example %d is learned and held out", d+1)
			}
			side[key] = held
		}
	}
	if n := s.sources[0].held.Documents(); len(side) != 100 || n < 2 || n > 60 {
		t.Errorf("%d different examples, %d of the records held out", len(side), n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestEpochsWithReplay: epochs are long enough for the last pack of examples, whose share of the turns is rounded.
func TestEpochsWithReplay(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	for _, args := range []string{"epochs=1", "epochs=3", "epochs=0.5", "epochs=2 data_weights=1"} {
		args := append(strings.Fields(args), "packing=false", "batch_size=50", "replay.data="+recipetest.TextFolder(t), "replay.ratio=0.998") // 8 turns in 4096 for 8.2
		config := tinySFT(t, from, examples, filepath.Join(t.TempDir(), "run"), args...)
		s, r := &tuning{c: config}, &recipe.Run{Training: &config.Training, Folder: recipe.Folder{Dir: t.TempDir()}, Env: recipe.Env{}.WithDefaults()}
		if err := cmp.Or(config.Validate(), s.OpenData(t.Context(), r)); err != nil {
			t.Fatal(err)
		}
		marks := map[string]bool{}
		for d := range s.sources[0].train.Documents() {
			ids := s.marks(s.sources[0].train, d)
			for i := range ids {
				ids[i], _ = data.Unmark(ids[i])
			}
			marks[fmt.Sprint(ids)] = true
		}
		seen := 0 // of the text no sequence is an example
		for step := range config.Steps {
			for _, b := range s.mixture.Step(step) {
				for i := range len(b.Offsets) - 1 {
					if marks[fmt.Sprint(b.IDs[b.Offsets[i]:b.Offsets[i+1]])] {
						seen++
					}
				}
			}
		}
		want := int(math.Ceil(config.Epochs * float64(s.sources[0].packs.Count())))
		if most := want + 1; seen < want || seen > most {
			t.Errorf("%v: %d steps show %d examples, want %d", args, config.Steps, seen, want)
		}
		planned, err := config.Plan(t.Context(), recipe.Env{})
		if err != nil || planned.Steps != config.Steps {
			t.Errorf("%v: %+v planned, %v, and %d made", args, planned, err, config.Steps)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHeldOutOfOneIsNotLearnedFromAnother: a source of which the hash of contents holds nothing out holds one example out all the same,
// and no other source teaches a copy of it.
func TestHeldOutOfOneIsNotLearnedFromAnother(t *testing.T) {
	var many, few strings.Builder
	for i := range 300 {
		line := fmt.Sprintf(`{"prompt":"question %d","completion":" answer %d"}`+"\n", i, i)
		many.WriteString(line)
		if i%60 == 0 {
			few.WriteString(strings.Replace(line, "{", `{"id":7,`, 1))
		}
	}
	dir := t.TempDir()
	all, some := filepath.Join(dir, "all.jsonl"), filepath.Join(dir, "some.jsonl")
	if err := cmp.Or(os.WriteFile(all, []byte(many.String()), 0o666), os.WriteFile(some, []byte(few.String()), 0o666)); err != nil {
		t.Fatal(err)
	}
	config := tinySFT(t, base(t), all+","+some, filepath.Join(dir, "run"), "data_weights=1,1", "steps=1", "validation_fraction=0.001", "packing=false")
	s, r := &tuning{c: config}, &recipe.Run{Training: &config.Training, Folder: recipe.Folder{Dir: t.TempDir()}, Env: recipe.Env{}.WithDefaults()}
	if err := cmp.Or(config.Validate(), s.OpenData(t.Context(), r)); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	held := map[string]bool{}
	for _, e := range s.sources {
		for d := range e.held.Documents() {
			var b data.Batch
			b.AppendMarked(s.marks(e.held, d))
			held[fmt.Sprint(b.IDs)] = true
		}
	}
	for step := range 300 { // two of each step's four are of the first source
		for _, b := range s.mixture.Step(step) {
			for i := range len(b.Offsets) - 1 {
				if ids := b.IDs[b.Offsets[i]:b.Offsets[i+1]]; held[fmt.Sprint(ids)] {
					t.Fatalf("step %d learns an example that is held out: %q", step+1, r.Tokenizer.Decode(ids))
				}
			}
		}
	}
	if n := s.sources[0].packs.Examples(); len(held) != 2 || n != 298 {
		t.Errorf("%d different examples are held out and %d of 300 learned", len(held), n)
	}
	if !strings.Contains(s.fingerprint(), "without 1 of them") {
		t.Errorf("the data is known as %s", s.fingerprint())
	}
}

// TestAllHeldOutOfOthers: a source that has nothing left beside what others hold out is refused by its name, with what to do.
func TestAllHeldOutOfOthers(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "b.jsonl")
	line := func(i int) string {
		return fmt.Sprintf(`{"prompt":"question %d","completion":" answer %d"}`+"\n", i, i)
	}
	// of two examples the one with the lesser hash is held out
	if err := cmp.Or(os.WriteFile(a, []byte(line(0)+line(1)), 0o666), os.WriteFile(b, []byte(line(0)+line(20)), 0o666)); err != nil {
		t.Fatal(err)
	}
	config := tinySFT(t, base(t), a+","+b, filepath.Join(dir, "run"), "data_weights=1,1", "steps=1", "validation_fraction=0.001")
	s, r := &tuning{c: config}, &recipe.Run{Training: &config.Training, Folder: recipe.Folder{Dir: t.TempDir()}, Env: recipe.Env{}.WithDefaults()}
	defer s.Close()
	err := cmp.Or(config.Validate(), s.OpenData(t.Context(), r))
	if err == nil || !strings.HasPrefix(err.Error(), "no example of b is left to learn from") || !strings.Contains(err.Error(), "validation_data") {
		t.Error(err)
	}
}
