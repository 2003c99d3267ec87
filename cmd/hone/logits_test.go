package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/nn"
	"hone/safetensors"
)

func goldenFile(parts ...string) string {
	return filepath.Join(append([]string{"..", "..", "testdata", "golden"}, parts...)...)
}

func openArchive(t *testing.T, path string) *safetensors.Archive {
	t.Helper()
	a, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// floatsOf reads a tensor.
func floatsOf(t *testing.T, a *safetensors.Archive, name string) []float32 {
	t.Helper()
	x, ok := a.Tensor(name)
	if !ok {
		t.Fatalf("there is no tensor %s", name)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// writeBatch writes the tokens of a golden folder as hone logits reads them.
func writeBatch(t *testing.T, folder string, labels bool) string {
	t.Helper()
	a := openArchive(t, goldenFile(folder, "golden.safetensors"))
	rows := func(name string) [][]int32 {
		x, _ := a.Tensor(name)
		out := make([][]int32, x.Shape[0])
		for i := range x.Elements() {
			out[i/x.Shape[1]] = append(out[i/x.Shape[1]], int32(binary.LittleEndian.Uint32(x.Data[4*i:])))
		}
		return out
	}
	batch := map[string]any{"input_ids": rows("input_ids")}
	if labels {
		batch["labels"] = rows("labels")
	}
	text, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "batch.json")
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// withDropout is a copy of a golden adapter that was trained with dropout, which must not show in what it computes.
func withDropout(t *testing.T, adapter string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), adapter)
	if err := os.CopyFS(dir, os.DirFS(goldenFile(adapter))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "adapter_config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited, err := nn.EditConfig(text, map[string]any{"lora_dropout": 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, edited, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLogits compares the whole file with the reference implementation's numbers, an adapter's too.
func TestLogits(t *testing.T) {
	for _, c := range []struct{ model, adapter string }{{"llama_tied", ""}, {"gpt2_untied", ""}, {"llama_untied", "lora_llama"}} {
		out := filepath.Join(t.TempDir(), "out.safetensors")
		args := []string{"logits", goldenFile(c.model), "--ids", writeBatch(t, c.model, true), "--grads", "--out", out, "--json"}
		want := openArchive(t, goldenFile(c.model, "golden.safetensors"))
		if c.adapter != "" {
			args = append(args, "--adapter", withDropout(t, c.adapter))
			want = openArchive(t, goldenFile(c.adapter, "golden.safetensors"))
		}
		text, errs, code := hone(t, "", args...)
		if code != 0 {
			t.Fatal(errs)
		}
		got := openArchive(t, out)
		var r struct {
			Shape   [3]int
			Loss    *float64
			Tensors int
		}
		loss := floatsOf(t, got, "loss")
		if err := json.Unmarshal([]byte(text), &r); err != nil || r.Loss == nil || float32(*r.Loss) != loss[0] || r.Shape != [3]int{2, 23, 97} || r.Tensors != len(got.Names()) {
			t.Errorf("%s: printed %s (%v)", c.model, text, err)
		}
		if x, _ := got.Tensor("logits"); len(x.Shape) != 3 {
			t.Errorf("%s: logits have the shape %v", c.model, x.Shape)
		}
		compared := 0
		for _, name := range want.Names() {
			tolerance := 1e-4
			switch {
			case strings.HasPrefix(name, "grad."):
				tolerance = 1e-4 * norm(floatsOf(t, want, name))
			case name == "loss":
				tolerance = 1e-5
			case name != "logits":
				continue
			}
			compared++
			w := floatsOf(t, want, name)
			for i, g := range floatsOf(t, got, name) {
				if !(math.Abs(float64(g-w[i])) <= tolerance) {
					t.Fatalf("%s: %s[%d] is %v, want %v", c.model, name, i, g, w[i])
				}
			}
		}
		if c.adapter != "" { // the base's parameters are written too, but for the head, which the adapter has taken over
			compared += len(openArchive(t, goldenFile(c.model, "model.safetensors")).Names()) - 1
		}
		if compared != len(got.Names()) {
			t.Errorf("%s: compared %d of the tensors %v", c.model, compared, got.Names())
		}
	}
}

func norm(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// TestLogitsWithoutLabels learns all tokens, which is what labels equal to the tokens do; bf16 is near f32.
func TestLogitsWithoutLabels(t *testing.T) {
	run := func(ids string, flags ...string) []float32 {
		out := filepath.Join(t.TempDir(), "out.safetensors")
		if _, errs, code := hone(t, "", append([]string{"logits", goldenFile("llama_tied"), "--ids", ids, "--out", out}, flags...)...); code != 0 {
			t.Fatal(errs)
		}
		a := openArchive(t, out)
		if len(a.Names()) != 2 {
			t.Errorf("without --grads the file has %v", a.Names())
		}
		return floatsOf(t, a, "loss")
	}
	plain := writeBatch(t, "llama_tied", false)
	var batch map[string]any
	text, _ := os.ReadFile(plain)
	if err := json.Unmarshal(text, &batch); err != nil {
		t.Fatal(err)
	}
	batch["labels"] = batch["input_ids"]
	text, _ = json.Marshal(batch)
	copied := filepath.Join(t.TempDir(), "copied.json")
	if err := os.WriteFile(copied, text, 0o666); err != nil {
		t.Fatal(err)
	}
	loss, half := run(plain)[0], run(plain, "--dtype", "bf16")[0]
	if other := run(copied)[0]; other != loss {
		t.Errorf("the loss is %v without labels and %v with the tokens as labels", loss, other)
	}
	if d := math.Abs(float64(loss - half)); d == 0 || d > 0.05 {
		t.Errorf("the loss is %v in f32 and %v in bf16", loss, half)
	}
}

func TestLogitsRefuses(t *testing.T) {
	long := "[" + strings.Repeat("1,", 64) + "1]"
	for name, c := range map[string]struct{ batch, want string }{
		"not JSON":           {`{`, "the file is empty or cut short"},
		"behind":             {`{"input_ids": [[1]]} 7`, "something behind the JSON object"},
		"unknown key":        {`{"input_ids": [[1]], "attention_mask": [[1]]}`, `unknown field "attention_mask"`},
		"no rows":            {`{"input_ids": []}`, "input_ids is empty"},
		"empty row":          {`{"input_ids": [[]]}`, "input_ids is empty"},
		"ragged":             {`{"input_ids": [[1,2],[3]]}`, "input_ids[1] has 1 tokens and input_ids[0] has 2; rows must be of one length"},
		"ragged labels":      {`{"input_ids": [[1,2]], "labels": [[3]]}`, "labels[0] has 1 entries for 2 tokens"},
		"rows of labels":     {`{"input_ids": [[1,2]], "labels": [[3,4],[5,6]]}`, "labels has 2 rows and input_ids has 1"},
		"unknown id":         {`{"input_ids": [[1,2],[3,97]]}`, "input_ids[1][1] is 97; the model's vocabulary is 0 to 96"},
		"negative id":        {`{"input_ids": [[1,-100]]}`, "input_ids[0][1] is -100"},
		"unknown label":      {`{"input_ids": [[1,2]], "labels": [[1,-1]]}`, "labels[0][1] is -1"},
		"not a number":       {`{"input_ids": [[1.5]]}`, "input_ids"},
		"nothing supervised": {`{"input_ids": [[1,2]], "labels": [[1,-100]]}`, "no label can be predicted"},
		"one token":          {`{"input_ids": [[1]]}`, "no label can be predicted, so there is no gradient"},
		"too long":           {`{"input_ids": [` + long + `]}`, "rows have 65 tokens and the model reads 64"},
	} {
		dir := t.TempDir()
		ids, out := filepath.Join(dir, "ids.json"), filepath.Join(dir, "out.safetensors")
		if err := os.WriteFile(ids, []byte(c.batch), 0o666); err != nil {
			t.Fatal(err)
		}
		_, errs, code := hone(t, "", "logits", goldenFile("llama_tied"), "--ids", ids, "--out", out, "--grads")
		if code != 1 || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %d %q, want %q", name, code, errs, c.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a file was written", name)
		}
	}
	if _, errs, code := hone(t, "", "logits", goldenFile("llama_tied")); code != 1 || !strings.Contains(errs, "--ids FILE.json") {
		t.Errorf("without flags: %d %q", code, errs)
	}
}
