package inference

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/data"
	"hone/generate"
	"hone/serve/label"
)

func TestLabelPairs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	records := `{"prompt": "a < b?", "chosen": "yes", "rejected": "no"}
{"prompt": "same", "chosen": "x", "rejected": "x"}
{"chosen": "\n\nHuman: hi\n\nAssistant: hello", "rejected": "\n\nHuman: hi\n\nAssistant: go away"}
`
	if err := os.WriteFile(path, []byte(records), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := label.Open(t.Context(), filepath.Join(t.TempDir(), "l.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	said, in := &bytes.Buffer{}, labelInput{}
	a := &cli.App{Err: said}
	if err := readPairs(a, path, &in); err != nil {
		t.Fatal(err)
	}
	if err := addInput(t.Context(), a, store, labelSettings{pairs: path}, in); err != nil {
		t.Fatal(err)
	}
	if want := "left out: 1 records of pairs.jsonl with equal or empty answers\n2 of 2 are new"; !strings.HasPrefix(said.String(), want) {
		t.Errorf("said %q, want %q", said.String(), want)
	}
	for _, want := range [][3]string{{`"a < b?"`, "yes", "no"}, {`[{"role":"user","content":"hi"}]`, "hello", "go away"}} {
		p, err := store.Next(t.Context(), "ann", 0)
		if err != nil || p == nil {
			t.Fatalf("no pair: %v", err)
		}
		var message []struct{ Role, Content string }
		if json.Unmarshal(p.Prompt, &message) == nil {
			p.Prompt, _ = plainJSON([]struct {
				Role    string `json:"role"`
				Content string `json:"content"`
			}{{message[0].Role, message[0].Content}})
		}
		if got := [3]string{string(p.Prompt), p.Answers[0].Text, p.Answers[1].Text}; got != want {
			t.Errorf("pair %q, want %q", got, want)
		}
		if err := store.Judge(t.Context(), label.Judgement{Pair: p.ID, Annotator: "ann", Verdict: label.A, Left: label.A}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPairsThatCannotBeShown: an answer is one message.
func TestPairsThatCannotBeShown(t *testing.T) {
	say := func(texts ...string) (e data.Example) {
		for _, text := range texts {
			e.Messages = append(e.Messages, json.RawMessage(`{"role":"user","content":"`+text+`"}`))
		}
		return e
	}
	if pair, err := pairOf(data.Preference{Turns: 1, Chosen: say("q", "a"), Rejected: say("q", "b")}); err != nil || pair.Answers[0].Text != "a" || pair.Answers[1].Text != "b" || string(pair.Prompt) != `[{"role":"user","content":"q"}]` {
		t.Errorf("%+v, %v", pair, err)
	}
	if _, err := pairOf(data.Preference{Turns: 1, Chosen: say("q", "a"), Rejected: say("q", "b", "c")}); err == nil || !strings.Contains(err.Error(), "an answer of 2 messages cannot be shown") {
		t.Errorf("an answer of two messages: %v", err)
	}
}

// TestLabelSettings: what cannot give two different answers is refused before a model is opened, and the second temperature is the first unless it is set.
func TestLabelSettings(t *testing.T) {
	model := []string{"m"}
	for _, c := range []struct {
		args   []string
		change func(*labelSettings)
		want   string
	}{
		{model, func(*labelSettings) {}, ""}, {nil, func(*labelSettings) {}, ""}, {nil, func(s *labelSettings) { s.prompts = "p" }, "prompts need a model"}, {nil, func(s *labelSettings) { s.modelB = "b" }, "--model-b needs a first model"},
		{model, func(s *labelSettings) { s.temperatureB = -1 }, "temperature-b is -1"}, {model, func(s *labelSettings) { s.opt.TopP = 2 }, "2"}, {model, func(s *labelSettings) { s.opt.Temperature = 0 }, "answers twice the same"},
		{model, func(s *labelSettings) { s.opt.Temperature, s.modelB = 0, "b" }, ""}, {model, func(s *labelSettings) { s.opt.Temperature, s.temperatureB = 0, 1 }, ""}, {nil, func(s *labelSettings) { s.opt.Temperature = 0 }, ""},
	} {
		s := labelSettings{opt: generate.DefaultOptions(), temperatureB: math.NaN()}
		c.change(&s)
		given := s.temperatureB
		if err := s.validate(c.args); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q of %+v: %v, want %q", c.args, s, err, c.want)
		} else if err == nil && math.IsNaN(given) && s.temperatureB != s.opt.Temperature {
			t.Errorf("the second temperature is %v, the first %v", s.temperatureB, s.opt.Temperature)
		}
	}
	if err := decodeStrictly([]byte(`{"input_idss":[[1]]}`), &tokenBatch{}); err == nil || !strings.Contains(err.Error(), "input_idss") {
		t.Errorf("a key that there is not: %v", err)
	}
}

// TestStoreToExport: a store that is not there is told, and neither it nor the file is made.
func TestStoreToExport(t *testing.T) {
	dir := t.TempDir()
	store, out := filepath.Join(dir, "labels.sqlite"), filepath.Join(dir, "out.jsonl")
	err := exportLabels(t.Context(), &cli.App{}, store, out)
	if err == nil || err.Error() != "export labels: there is no store "+store+"; name the file that hone label keeps verdicts in, as its --store" {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind are %v, %v", left, err)
	}
}
