package lm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/recipetest"
	"hone/train"
)

func tinySFT(t testing.TB, modelDir, data, out string, args ...string) *SFT {
	t.Helper()
	c := DefaultSFT()
	all := append([]string{"model=" + modelDir, "data=" + data, "out=" + out, "sequence_length=64", "batch_size=2", "eval.every=10",
		"optimizer.learning_rate=0.005", "schedule.warmup_steps=2", "schedule.name=constant", "lora.r=4"}, args...)
	for _, a := range all {
		if err := config.Override(&c, []string{a}); err != nil {
			t.Fatal(err)
		}
	}
	return &c
}

// TestSFT tunes on both kinds of examples, with all weights and with an adapter, and looks at what is left.
func TestSFT(t *testing.T) {
	from := base(t)
	before := recipetest.Read(t, from, "model.safetensors")
	for _, format := range []string{"completion", "messages"} {
		for _, method := range []string{"full", "lora"} {
			out := filepath.Join(t.TempDir(), "run")
			// there are nine different sums: one that is held out is learned from no other
			examples := recipetest.ExampleFile(t, format)
			args := []string{"method=" + method, "steps=60", "validation_data=" + examples}
			if method == "lora" {
				args = append(args, "lora.r=8", "steps=150")
			}
			if format == "messages" {
				args = append(args, "chat_template=zephyr")
			}
			sum, events, err := tune(t, tinySFT(t, from, examples, out, args...))
			if err != nil {
				t.Fatal(err)
			}
			if !(sum.SetupSeconds > 0) {
				t.Errorf("%v seconds until the first step", sum.SetupSeconds)
			}
			first, last := evalLoss(events)
			if !(last < 0.8*first) || method == "full" && last > 1 {
				t.Errorf("%s, %s: held-out loss went from %v to %v", format, method, first, last)
			}
			checkShown(t, events, format)
			if method == "full" {
				if sum.Trainable != sum.Parameters || sum.ModelDir != filepath.Join(out, "model") {
					t.Errorf("summary %+v", sum)
				}
				openBack(t, sum.ModelDir, sum)
				continue
			}
			if sum.Trainable >= sum.Parameters || sum.ModelDir != filepath.Join(out, "adapter") {
				t.Errorf("summary %+v", sum)
			}
			for _, dir := range []string{sum.ModelDir, filepath.Join(out, "checkpoints", fmt.Sprint("step-", sum.Steps))} {
				openAdapter(t, from, dir)
			}
			if _, err := os.Stat(filepath.Join(sum.ModelDir, "chat_template.jinja")); (err == nil) != (format == "messages") {
				t.Errorf("%s: the chat template beside the adapter: %v", format, err)
			}
		}
	}
	if !bytes.Equal(before, recipetest.Read(t, from, "model.safetensors")) {
		t.Error("the base was changed")
	}
}

func evalLoss(events []train.Event) (first, last float64) {
	first = math.NaN()
	for _, e := range events {
		if e, ok := e.(train.EvalEvent); ok {
			if last = e.Metrics["loss"]; math.IsNaN(first) {
				first = last
			}
		}
	}
	return first, last
}

// checkShown: what is shown as learned is the answer with the token that ends it, and nothing else.
func checkShown(t *testing.T, events []train.Event, format string) {
	t.Helper()
	for _, e := range events {
		e, ok := e.(train.ExampleEvent)
		if !ok {
			continue
		}
		var learned []string
		for _, p := range e.Parts {
			if p.Supervised {
				learned = append(learned, p.Text)
			}
		}
		if len(learned) != 1 || strings.Contains(learned[0], " and ") || !strings.Contains(learned[0], endOfText) {
			t.Errorf("%s: learned is %q of %+v", format, learned, e.Parts)
		}
		return
	}
	t.Errorf("%s: no example was shown", format)
}

func openAdapter(t *testing.T, from, dir string) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Open(from, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	l, err := adapter.Open(dir, adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	l.Free()
}

// TestSFTResumes: n + n steps are 2n steps bit for bit, for an adapter with dropout in both places.
func TestSFTResumes(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	args := []string{"method=lora", "lora.dropout=0.1", "dropout=0.1", "lora.modules_to_save=lm_head"}
	whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
	for _, run := range []*SFT{
		tinySFT(t, from, examples, whole, append(args, "steps=12")...),
		tinySFT(t, from, examples, parts, append(args, "steps=5")...),
		tinySFT(t, from, examples, parts, append(args, "steps=12", "resume=true", "threads=2")...),
	} {
		if _, _, err := tune(t, run); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"adapter/adapter_model.safetensors", "checkpoints/step-12/optimizer.safetensors"} {
		if !bytes.Equal(recipetest.Read(t, whole, name), recipetest.Read(t, parts, name)) {
			t.Errorf("%s differs", name)
		}
	}
	_, _, err := tune(t, tinySFT(t, from, examples, parts, append(args, "steps=20", "resume=true", "lora.r=2")...))
	if err == nil || !strings.Contains(err.Error(), "lora.r was 4 and is 2") {
		t.Errorf("resuming with another rank: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other") // of the same shape, with other weights
	if err := os.CopyFS(other, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	weights := recipetest.Read(t, other, "model.safetensors")
	weights[len(weights)-2] ^= 0x40
	if err := os.WriteFile(filepath.Join(other, "model.safetensors"), weights, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = tune(t, tinySFT(t, other, examples, parts, append(args, "steps=20", "resume=true")...))
	if err == nil || !strings.Contains(err.Error(), "weights of the model was") {
		t.Errorf("resuming on another base: %v", err)
	}
}

// TestSFTBadInput: each error names the place and the remedy.
func TestSFTBadInput(t *testing.T) {
	from := base(t)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	twice := filepath.Join(t.TempDir(), "twice.jinja")
	if err := os.WriteFile(twice, []byte("{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"), 0o666); err != nil {
		t.Fatal(err)
	}
	const talk = `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}` + "\n"
	for _, c := range []struct {
		data string
		args []string
		want string
	}{
		{`{"question":"q"}`, nil, "x.jsonl:1: a record with the keys question is of no known format"},
		{talk, nil, "x.jsonl:1: the example is a conversation and the model has no chat template; set chat_template=zephyr"},
		{talk + talk, []string{"chat_template=no-such"}, `chat template "no-such" is unknown`},
		{`{"prompt":"p","completion":"c"}`, []string{"lora.target_modules=query", "method=lora"}, "no linear layer of the model is called; did you mean"},
		{`{"prompt":"p","completion":"c"}`, []string{"replay.ratio=0.2"}, "replay.ratio is set, but there is nothing to mix in"},
		{`{"prompt":"p","completion":"c"}`, []string{"replay.self_tokens=9"}, "replay.self_tokens is set, but replay.self is not"},
		{`{"prompt":"p","completion":"c"}`, []string{"method=half"}, `method is "half"; use full, lora, qlora`},
		{`{"prompt":"p","completion":"c"}`, []string{"lora.rank_pattern=q_proj", "method=lora"}, "write MODULE:NUMBER"},
		{`{"prompt":"` + strings.Repeat("one and two ", 100) + `","completion":"c"}`, nil, "no example is left to learn from"},
		{`{"prompt":"` + strings.Repeat("one and two ", 100) + `","completion":"c"}`, []string{"too_long=error"}, "sequence_length is 64; raise it"},
		{`{"prompt":"p","completion":"` + strings.Repeat("one and two ", 100) + `"}`, nil, "no example teaches the model to end its answer"},
		{talk, []string{"chat_template=" + twice}, "begins with the beginning-of-text token (id 0) twice"},
		{talk, []string{"chat_template=chatml"}, "no example teaches the model to end its answer"},
		{`{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"u"}]}`, nil, "x.jsonl:1: a record of the format messages: message 1, of the role assistant, is out of order"},
		{`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":" "}]}`, nil, "x.jsonl:1: a record of the format messages: message 2, of the assistant, is empty"},
		{`{"messages":[{"role":"user","content":[{"type":"text","text":"u"}]},{"role":"assistant","content":"a"}]}`, []string{"chat_template=zephyr"}, "x.jsonl:1: the content of message 1 is no text"},
		{`{"messages":[{"role":"user"},{"role":"assistant","content":"a"}]}`, []string{"chat_template=zephyr"}, "x.jsonl:1: the content of message 1 is no text"},
		{`{"prompt":"p","completion":"c"}`, []string{"lora.target_modules=(((", "method=lora"}, `lora.target_modules: "(((" is no regular expression`},
	} {
		out := filepath.Join(t.TempDir(), "run")
		_, _, err := tune(t, tinySFT(t, from, file(c.data), out, append([]string{"steps=2", "validation_fraction=0"}, c.args...)...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s %v: error %v, want %s", c.data, c.args, err, c.want)
		}
	}
}

// TestReplay: text mixed in keeps the loss on such text lower than tuning without it.
func TestReplay(t *testing.T) {
	from, examples, text := base(t), recipetest.ExampleFile(t, "completion"), recipetest.TextFolder(t)
	loss := func(ratio string) float64 {
		_, events, err := tune(t, tinySFT(t, from, examples, filepath.Join(t.TempDir(), "run"), "steps=40", "replay.data="+text, "replay.ratio="+ratio))
		if err != nil {
			t.Fatal(err)
		}
		last := math.NaN()
		for _, e := range events {
			switch e := e.(type) {
			case train.EvalEvent:
				last = e.Metrics["general_loss"]
			case train.InfoEvent: // of the examples, however much text there is
				packs, ok := e.Values["packs"].(int64)
				if !ok {
					continue // of something else
				}
				share, _ := strconv.ParseFloat(ratio, 64)
				if want := float64(packs) / (1 - share) / 2; e.Values["steps_per_epoch"] != want {
					t.Errorf("%v steps show all %d sequences of examples once, want %v", e.Values["steps_per_epoch"], packs, want)
				}
			}
		}
		return last
	}
	if little, much := loss("0.01"), loss("0.5"); !(much < 0.9*little) {
		t.Errorf("loss on text is %v with much of it mixed in, %v with little", much, little)
	}
}

// base trains the model that is tuned.
func base(t testing.TB) string {
	t.Helper()
	c := DefaultPretrain()
	return recipetest.Base(t, &c)
}

func tune(t testing.TB, c *SFT) (*recipe.Summary, []train.Event, error) {
	t.Helper()
	return recipetest.Start(t, c, max(c.Threads, 1))
}

// TestSamplesOfNothing: an empty prompt of samples begins with the end token where a tokenizer begins texts
// with nothing, as GPT-2's does.
func TestSamplesOfNothing(t *testing.T) {
	from := base(t)
	var parts map[string]any
	if err := json.Unmarshal(recipetest.Read(t, from, "tokenizer.json"), &parts); err != nil {
		t.Fatal(err)
	}
	parts["post_processor"] = nil
	text, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "tokenizer.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	c := tinySFT(t, from, recipetest.ExampleFile(t, "completion"), filepath.Join(t.TempDir(), "run"), "steps=1", "samples.every=1", "samples.max_tokens=2")
	c.Samples.Prompts = []string{""}
	_, events, err := tune(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e train.Event) bool { _, is := e.(train.SampleEvent); return is }) {
		t.Error("there is no sample")
	}
}
