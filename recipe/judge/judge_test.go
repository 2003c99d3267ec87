package judge

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/chat"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/recipe/example"
	"hone/recipe/recipetest"
	"hone/tensor"
	"hone/tokenizer"
)

// TestAdapterScores compares reward models that PEFT wrote as adapters with the scores it gives, on a base of their own and on
// one that is loaded already.
func TestAdapterScores(t *testing.T) {
	golden := filepath.Join("..", "..", "testdata", "golden")
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	for _, name := range []string{"lora", "prompt"} {
		dir := recipetest.Rebased(t, filepath.Join(golden, "score", name), filepath.Join(golden, "llama_untied"))
		var want struct {
			Sequences [][]int32
			Scores    []float64
		}
		if err := json.Unmarshal(recipetest.Read(t, dir, "scores.json"), &want); err != nil {
			t.Fatal(err)
		}
		m, err := model.Open(filepath.Join(golden, "llama_untied"), dev, device.F32)
		if err != nil {
			t.Fatal(err)
		}
		var first []float64
		for _, base := range []*model.Model{nil, m} {
			scorer, err := OpenScorer(dir, dev, device.F32, Options{Base: base})
			if err != nil {
				t.Fatal(err)
			}
			j := &Judge{Scorer: scorer, tape: tensor.NewTape(dev, device.F32)} // the folders have no tokenizer
			got, err := j.ScoreTokens(context.Background(), want.Sequences)
			if err != nil || j.Shared != (base != nil) {
				t.Fatalf("%s: shared %v, %v", name, j.Shared, err)
			}
			for i := range got {
				if math.Abs(got[i]-want.Scores[i]) > 1e-5 {
					t.Errorf("%s: score %d is %v, want %v", name, i, got[i], want.Scores[i])
				}
			}
			if first == nil {
				first = got
			} else if !slices.Equal(first, got) {
				t.Errorf("%s: scores are %v on a base of their own and %v on a shared one", name, first, got)
			}
			j.Free()
		}
		m.Free()
		lost := recipetest.Rebased(t, dir, "some/model")
		if _, err := OpenScorer(lost, dev, device.F32, Options{}); err == nil || !strings.Contains(err.Error(), "base_model_name_or_path") {
			t.Errorf("%s on a base that is not there: %v", name, err)
		}
	}
	if n := dev.Memory().InUse; n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestPadIsNotScored: the golden scores are those of padded sequences, so that pads behind a sequence change nothing, be they the pads of a batch
// or, as in models that TRL gave the end token as pad, the end of the text. Without a pad_token_id each token counts.
func TestPadIsNotScored(t *testing.T) {
	golden := filepath.Join("..", "..", "testdata", "golden", "score", "llama") // its pad_token_id is 0
	var want struct {
		Sequences [][]int32
		Scores    []float64
	}
	if err := json.Unmarshal(recipetest.Read(t, golden, "scores.json"), &want); err != nil {
		t.Fatal(err)
	}
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	scorer, err := OpenScorer(golden, dev, device.F32, Options{})
	if err != nil {
		t.Fatal(err)
	}
	j := &Judge{Scorer: scorer, tape: tensor.NewTape(dev, device.F32)}
	defer j.Free()
	for i := range want.Sequences {
		want.Sequences[i] = append(want.Sequences[i], 0, 0)
	}
	padded, err := j.ScoreTokens(context.Background(), want.Sequences)
	if err != nil {
		t.Fatal(err)
	}
	j.Pad = -1
	bare, err := j.ScoreTokens(context.Background(), want.Sequences)
	if err != nil {
		t.Fatal(err)
	}
	for i, score := range want.Scores {
		if math.Abs(padded[i]-score) > 1e-5 || math.Abs(bare[i]-score) < 1e-3 {
			t.Errorf("with pads behind it sequence %d scores %v, without a pad token %v; transformers gives %v", i, padded[i], bare[i], score)
		}
	}
}

// letters is a judge without a model that reads bytes, with marks around what it reads.
func letters(t *testing.T, template, bos string) *Judge {
	t.Helper()
	docs := func(yield func([]byte, error) bool) { yield([]byte("x"), nil) }
	tok, err := tokenizer.Train(context.Background(), docs, tokenizer.TrainConfig{VocabSize: 258, Pattern: tokenizer.PatternGPT2,
		SpecialTokens: []string{"<s>", "</s>"}, BOS: bos, EOS: "</s>", Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	var parsed *chat.Template
	if template != "" {
		if parsed, err = chat.New(template, "", chat.Tokens{}); err != nil {
			t.Fatal(err)
		}
	}
	return &Judge{enc: example.NewEncoder(tok, parsed)}
}

// TestRendered: a text is read as in training, up to where the score is taken: the last token of all that the template writes, or of the answer.
func TestRendered(t *testing.T) {
	const turns = `{% for m in messages %}<{{ m.role }}>{{ m.content }}<e>{% endfor %}THE END`
	asked := []chat.Message{chat.NewMessage("user", "hi")}
	talk := append(slices.Clone(asked), chat.NewMessage("assistant", "a"))
	for _, c := range []struct {
		what, template, bos string
		text                Text
		want                string
	}{
		{"a prompt and its answer", "", "<s>", Text{Prompt: "2+2=", Answer: "4"}, "<s>2+2=4</s>"},
		{"both in one", "", "<s>", Text{Answer: "2+2=4", Whole: true}, "<s>2+2=4</s>"},
		{"an answer to nothing", "", "", Text{Answer: "4"}, "</s>4</s>"},
		{"both in one where nothing begins a text", "", "", Text{Answer: "2+2=4", Whole: true}, "2+2=4</s>"},
		{"an answer to a conversation", turns, "<s>", Text{Messages: asked, Answer: "a"}, "<user>hi<e><assistant>a<e>"},
		{"a conversation that ends in an answer", turns, "<s>", Text{Messages: talk}, "<user>hi<e><assistant>a<e>"},
		{"a conversation without an answer", turns, "<s>", Text{Messages: asked}, "<user>hi<e>THE END"},
	} {
		j := letters(t, c.template, c.bos)
		ids, err := j.encode(&c.text)
		if got := string(j.Tokenizer().Decode(ids)); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.what, got, err, c.want)
		}
		if behind, err := j.Behind(&c.text); behind != nil || err != nil {
			t.Errorf("%s: %v is read behind it, %v", c.what, behind, err)
		}
		j.all = true
		ids, err = j.encode(&c.text)
		want := c.want
		if c.template != "" {
			want = strings.TrimSuffix(want, "THE END") + "THE END"
		}
		if got := string(j.Tokenizer().Decode(ids)); err != nil || got != want {
			t.Errorf("%s, all of it: %q, %v; want %q", c.what, got, err, want)
		}
		behind, err := j.Behind(&c.text)
		if got := string(j.Tokenizer().Decode(behind)); err != nil || (got == "THE END") != (c.template != "") {
			t.Errorf("%s: %q is read behind it, %v", c.what, got, err)
		}
	}
	j := letters(t, "", "<s>")
	if _, err := j.Score(context.Background(), []Text{{Prompt: "a", Messages: asked}}); err == nil || !strings.Contains(err.Error(), "text 1: the text is a conversation") {
		t.Errorf("a conversation without a template: %v", err)
	}
}

// TestJudgesAreRefused: a model that gives no scores is none, nor is a folder without a tokenizer, and nothing is left in memory.
func TestJudgesAreRefused(t *testing.T) {
	golden := filepath.Join("..", "..", "testdata", "golden")
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	for dir, want := range map[string]string{
		filepath.Join(golden, "llama_untied"): "has no scalar head; train one with hone reward",
		filepath.Join(golden, "score/llama"):  "open reward model",
		filepath.Join(golden, "nothing"):      "there is no such folder",
		recipetest.Rebased(t, filepath.Join(golden, "lora_llama"), filepath.Join(golden, "llama_untied")): "has no scalar head (modules_to_save lacks",
	} {
		if _, err := Open(dir, dev, device.F32, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if n := dev.Memory().InUse; n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestFit: of what is longer than the context the end stays.
func TestFit(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	s, err := OpenScorer(filepath.Join("..", "..", "testdata", "golden", "score", "llama"), dev, device.F32, Options{})
	if err != nil {
		t.Fatal(err)
	}
	j := &Judge{Scorer: s}
	defer j.Free()
	most := j.Shape().MaxPositions
	ids := make([]int32, most+3)
	for i := range ids {
		ids[i] = int32(i)
	}
	if got := j.Fit(ids); len(got) != most || got[0] != 3 {
		t.Errorf("%d of %d tokens, from %d", len(got), len(ids), got[0])
	}
	if got := j.Fit(ids[:most]); len(got) != most || got[0] != 0 {
		t.Errorf("what fits is cut to %d", len(got))
	}
}
