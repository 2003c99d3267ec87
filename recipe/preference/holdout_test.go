package preference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/recipe"
	"hone/recipe/recipetest"
)

// TestHoldOut: a prompt is on one side with all its records, whatever their order, and the share that is
// asked for is met as nearly as prompts allow.
func TestHoldOut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		prompts  int
		records  func(prompt int) int
		fraction float64
		off      float64 // records by which the share may be missed
	}{
		"one verdict each":         {1000, func(int) int { return 1 }, 0.05, 0.5},
		"several verdicts":         {200, func(int) int { return 1 + r.IntN(5) }, 0.1, 2},
		"three verdicts on few":    {10, func(int) int { return 3 }, 0.1, 0},
		"less than one":            {7, func(int) int { return 2 }, 0.05, 2},
		"one prompt has the most":  {40, func(p int) int { return 1 + 200*(p/39) }, 0.1, 5},
		"two prompts":              {2, func(p int) int { return 1 + 9*p }, 0.9, 9},
		"nearly all":               {50, func(int) int { return 2 }, 0.99, 1},
		"both are judged by many":  {2, func(int) int { return 50 }, 0.01, 49},
		"the usual share of a few": {20, func(int) int { return 4 }, 0.05, 0},
	} {
		var all []judged
		for p := range c.prompts {
			for range c.records(p) {
				all = append(all, judged{prompt: 1 + uint64(p)*0x9e3779b97f4a7c15})
			}
		}
		n := len(all)
		var before map[uint64]bool
		for range 3 {
			r.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
			train, held, err := holdOut(slices.Clone(all), c.fraction)
			if err != nil || len(train)+len(held) != n || len(train) == 0 || len(held) == 0 {
				t.Fatalf("%s: %d and %d of %d records, %v", name, len(train), len(held), n, err)
			}
			out := map[uint64]bool{}
			for _, j := range held {
				out[j.prompt] = true
			}
			if slices.ContainsFunc(train, func(j judged) bool { return out[j.prompt] }) {
				t.Errorf("%s: a prompt is on both sides", name)
			}
			if off := math.Abs(float64(len(held)) - c.fraction*float64(n)); off > c.off+1e-9 {
				t.Errorf("%s: %d of %d records are held out, asked for are %v of them", name, len(held), n, c.fraction)
			}
			if before != nil && !maps.Equal(before, out) {
				t.Errorf("%s: other prompts are held out in another order", name)
			}
			before = out
		}
	}
	if _, _, err := holdOut(make([]judged, 3), 0.1); err == nil || err.Error() != "all records have one prompt, of which none can be held out; name others by validation_data, or set validation_fraction=0" {
		t.Errorf("one prompt: %v", err)
	}
}

// sides opens records as a stage of the recipe does and returns the first answers, as text, of both sides.
func sides(t *testing.T, records []string, parse func(*reader, []byte) ([]judged, error), args ...string) (train, held []string, err error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "records.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(records, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	c := tinyReward(t, base(t), path, dir, append([]string{"chat_template=zephyr", "sequence_length=200"}, args...)...)
	r := c.run(recipe.Env{}.WithDefaults())
	r.Folder = recipe.Folder{Dir: dir}
	all, _, err := c.Preferences.open(t.Context(), r, parse, false)
	defer all.close()
	if err != nil {
		return nil, nil, err
	}
	text := func(list []judged) (texts []string) {
		for _, j := range list {
			ids := make([]int32, len(j.answers[0]))
			for i, m := range j.answers[0] {
				ids[i] = m >> 1
			}
			texts = append(texts, string(r.Tokenizer.Decode(ids)))
		}
		return texts
	}
	return text(all.items), text(all.held), nil
}

// TestPromptsAreHeldOut: verdicts of several people on one prompt are on one side, in each form of records,
// for pairs and for single answers.
func TestPromptsAreHeldOut(t *testing.T) {
	forms := map[string]func(p, n int) string{
		"texts": func(p, n int) string {
			return fmt.Sprintf(`{"prompt":"%s <%d>","chosen":"yes %d","rejected":"no %d"}`, []string{"question", `\u0071uestion`}[n%2], p, n, n)
		},
		"messages": func(p, n int) string {
			m := []string{`{"role":"user","content":"question %d"}`, `{ "content": "question %d", "role": "user" }`}[n%2]
			answer := func(a string) string { return fmt.Sprintf(`[{"role":"assistant","content":"%s %d"}]`, a, n) }
			return fmt.Sprintf(`{"prompt":[`+m+`],"chosen":%s,"rejected":%s}`, p, answer("yes"), answer("no"))
		},
		"transcripts": func(p, n int) string {
			return fmt.Sprintf(`{"chosen":"\n\nHuman: question %d\n\nAssistant: yes %d","rejected":"\n\nHuman: question %[1]d\n\nAssistant: no %[2]d"}`, p, n)
		},
		"verdicts": func(p, n int) string {
			return fmt.Sprintf(`{"prompt":"question <%d>","completion":"yes %d","label":%v}`, p, n, n%2 == 0)
		},
	}
	for form, record := range forms {
		for parse, of := range map[string]func(*reader, []byte) ([]judged, error){"pairs": (*reader).pairs, "kto": (*reader).verdicts} {
			if form == "verdicts" && parse == "pairs" {
				continue
			}
			const prompts, verdicts = 20, 4
			var records []string
			for i := range prompts * verdicts {
				records = append(records, record(i%prompts, i/prompts))
			}
			train, held, err := sides(t, records, of, "validation_fraction=0.1")
			if err != nil {
				t.Fatal(form, parse, err)
			}
			asked := map[string]int{}
			for side, list := range [][]string{train, held} {
				for _, text := range list {
					_, number, _ := strings.Cut(text, "question ")
					number = strings.Trim(strings.Fields(number)[0], "<>yesno")
					asked[number] |= 1 << side
				}
			}
			each := len(train) + len(held)
			if out := slices.DeleteFunc(slices.Collect(maps.Values(asked)), func(s int) bool { return s != 2 }); len(asked) != prompts || len(out) != 2 || 10*len(held) != each {
				t.Errorf("%s, %s: of %d prompts %d are held out with %d of %d answers, want 2 with a tenth: %v", form, parse, len(asked), len(out), len(held), each, asked)
			}
			if _, _, err := sides(t, []string{record(1, 0), record(1, 1)}, of); err == nil || !strings.Contains(err.Error(), "have one prompt, of which none can be held out") {
				t.Errorf("%s, %s: one prompt: %v", form, parse, err)
			}
		}
	}
}

// TestNotesOnRecords: texts to a model that chats, and far more held out than was asked for, are told once, in a run and by a plan.
func TestNotesOnRecords(t *testing.T) {
	const text, messages = `{"prompt":"question %d","chosen":"yes %d","rejected":"no %[2]d"}`,
		`{"prompt":[{"role":"user","content":"question %d"}],"chosen":[{"role":"assistant","content":"yes %d"}],"rejected":[{"role":"assistant","content":"no %[2]d"}]}`
	from := base(t)
	for name, c := range map[string]struct {
		form    string
		prompts int
		args    []string
		want    []string // parts of the notes
	}{
		"texts to a chat model": {text, 40, []string{"chat_template=zephyr"}, []string{"records are texts, which are learned as they are, although"}},
		"texts":                 {text, 40, nil, nil},
		"messages":              {messages, 40, []string{"chat_template=zephyr"}, nil},
		"both": {text, 3, []string{"chat_template=zephyr", "validation_fraction=0.05"}, []string{
			"13 of 40 records (32%) are held out, not 5%: all of a prompt or none, and few prompts have many records; name others by validation_data",
			"records are texts"}},
		"three prompts, a third": {text, 3, []string{"validation_fraction=0.33"}, nil},
		"two prompts, none":      {text, 2, []string{"validation_fraction=0"}, nil},
	} {
		dir := t.TempDir()
		var records []string
		for i := range 40 {
			records = append(records, fmt.Sprintf(c.form, i%c.prompts, i))
		}
		path := filepath.Join(dir, "records.jsonl")
		if err := os.WriteFile(path, []byte(strings.Join(records, "\n")), 0o666); err != nil {
			t.Fatal(err)
		}
		reward := tinyReward(t, from, path, filepath.Join(dir, "out"), append(c.args, "steps=8")...)
		p, err := reward.Plan(t.Context(), recipe.Env{})
		if err != nil {
			t.Fatal(name, err)
		}
		if len(p.Notes) != len(c.want) {
			t.Errorf("%s: the plan notes %q, want %q", name, p.Notes, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(p.Notes[i], want) {
				t.Errorf("%s: note %d is %q, want %q", name, i, p.Notes[i], want)
			}
		}
	}
}

// TestRunsThatHeldOutRecords: a run from before whole prompts were held out is not gone on with, and is told why; one that holds out none, or files of
// its own, is the same as before.
func TestRunsThatHeldOutRecords(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	for arg, refused := range map[string]bool{"validation_fraction=0.05": true, "validation_fraction=0": false, "validation_data=" + pairs: false} {
		out := filepath.Join(t.TempDir(), "run")
		if _, _, err := recipetest.Start(t, tinyReward(t, from, pairs, out, "steps=1", arg), 1); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(out, "checkpoints", "step-1", "recipe.json")
		var kept map[string]string
		was := recipetest.Read(t, path)
		if err := json.Unmarshal(was, &kept); err != nil {
			t.Fatal(err)
		}
		if _, has := kept[heldKey]; has != refused {
			t.Errorf("%s: the identity is %v", arg, kept)
		}
		delete(kept, heldKey)
		text, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, bytes.Repeat([]byte(" "), len(was)-len(text))...) // a checkpoint knows the sizes of its files
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
		recipetest.Unsummed(t, filepath.Dir(path))
		_, _, err = recipetest.Start(t, tinyReward(t, from, pairs, out, "steps=2", "resume=true", arg), 1)
		if want := "held-out share was not set and is whole prompts (single records in runs of an earlier hone, which this one cannot go on with)"; (err != nil) != refused || refused && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}
