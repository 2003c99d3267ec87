package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
)

// TestMergeNotesExperts: an adapter that PEFT reads otherwise is merged with one line about that beside the result.
func TestMergeNotesExperts(t *testing.T) {
	base := lettered(t, "mixtral")
	for _, rsLoRA := range []bool{false, true} {
		dir, out := filepath.Join(t.TempDir(), "adapter"), filepath.Join(t.TempDir(), "merged")
		saveLoRA(t, base, dir, 0, func(c *adapter.Config) {
			c.TargetModules, c.UseRSLoRA = adapter.Modules{Names: []string{"w1", "w3"}}, rsLoRA
		})
		text, errs, code := hone(t, "", "merge", base, dir, "--out", out, "--text", "abba", "--json")
		var r mergeResult
		if code != 0 || json.Unmarshal([]byte(text), &r) != nil || !(r.KL < 1e-9) {
			t.Fatalf("exit %d, %s%s", code, text, errs)
		}
		if said := strings.HasPrefix(errs, "note: with rsLoRA on experts") && strings.Count(errs, "\n") == 1; said != rsLoRA {
			t.Errorf("rsLoRA %v: stderr is %q", rsLoRA, errs)
		}
	}
}

// TestMergeRefusesKinds: virtual tokens are told to be used as they are, and what hone has not at all to be merged by others.
func TestMergeRefusesKinds(t *testing.T) {
	base := lettered(t, "llama_untied")
	for kind, want := range map[string]string{"PROMPT_TUNING": "nothing to merge; use it with --adapter", "P_TUNING": "nothing to merge; use it with --adapter",
		"PREFIX_TUNING": "nothing to merge; use it with --adapter", "IA3": "is of kind IA3; hone merges LORA, so merge it with PEFT", "LOHA": "is of kind LOHA; hone merges LORA"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, adapter.ConfigName), []byte(`{"peft_type":"`+kind+`"}`), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, errs, code := hone(t, "", "merge", base, dir, "--out", filepath.Join(t.TempDir(), "merged")); code != 1 || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d, %s", kind, code, errs)
		}
	}
}

// TestMergeBesidePackedWeights: what an adapter learned beside weights in few bits is compared with them, so that rounding shows: more of 4 bits than of 8.
func TestMergeBesidePackedWeights(t *testing.T) {
	base, dir := lettered(t, "llama_untied"), filepath.Join(t.TempDir(), "adapter")
	saveLoRA(t, base, dir, 0.1, func(c *adapter.Config) { c.TargetModules = adapter.Modules{Pattern: adapter.AllLinear} })
	var kl []float64
	for _, bits := range []string{"0", "8", "4"} {
		text, errs, code := hone(t, "", "merge", base, dir, "--out", filepath.Join(t.TempDir(), "merged"), "--text", "abbaab", "--bits", bits, "--json")
		var r mergeResult
		if code != 0 || json.Unmarshal([]byte(text), &r) != nil || r.Tokens != 6 {
			t.Fatalf("exit %d, %s%s", code, text, errs)
		}
		kl = append(kl, r.KL)
	}
	if !(kl[0] < 1e-6 && kl[0] < kl[1] && 5*kl[1] < kl[2] && kl[2] < 0.2 && kl[1] < 0.002) {
		t.Errorf("with all bits, 8 and 4 the merged model is %v nats away", kl)
	}
}

// TestMergeRefusesDiverged: nothing is written of an adapter with which nothing finite is computed; the folder was there, and no JSON of the divergence.
func TestMergeRefusesDiverged(t *testing.T) {
	base, dir, out := lettered(t, "llama_untied"), filepath.Join(t.TempDir(), "adapter"), filepath.Join(t.TempDir(), "merged")
	saveLoRA(t, base, dir, float32(math.NaN()), func(*adapter.Config) {})
	for _, flags := range [][]string{{"--json"}, {}} {
		text, errs, code := hone(t, "", append([]string{"merge", base, dir, "--out", out, "--text", "abba"}, flags...)...)
		if code != 1 || text != "" || !strings.Contains(errs, "is not finite: the weights of one are damaged or training diverged") || strings.Count(errs, "\n") != 1 {
			t.Errorf("exit %d, %q, %s", code, text, errs)
		}
		if _, err := os.Stat(out); err == nil {
			t.Error("a folder is written")
		}
	}
}

// mergeResult is what hone merge prints with --json.
type mergeResult struct {
	KL     float64
	Tokens int
}

// lettered is a golden model with a tokenizer of two letters.
func lettered(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"config.json", "model.safetensors"} {
		text, err := os.ReadFile(goldenFile(name, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}`), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// saveLoRA writes a LoRA whose matrices B hold a number throughout.
func saveLoRA(t *testing.T, base, dir string, b float32, change func(*adapter.Config)) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Open(base, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	c := adapter.Default()
	change(&c)
	l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	if err := l.Initialize(dev, device.F32, 1); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Params() {
		if strings.Contains(p.Name, "lora_B") {
			dev.Fill(p.Buffer(), b)
		}
	}
	if err := l.Save(dir, device.F32, model.Values); err != nil {
		t.Fatal(err)
	}
}
