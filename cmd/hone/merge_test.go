package main

import (
	"encoding/json"
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
	base := t.TempDir()
	for _, name := range []string{"config.json", "model.safetensors"} {
		text, err := os.ReadFile(goldenFile("mixtral", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, name), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	const letters = `{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}`
	if err := os.WriteFile(filepath.Join(base, "tokenizer.json"), []byte(letters), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, rsLoRA := range []bool{false, true} {
		dir, out := filepath.Join(t.TempDir(), "adapter"), filepath.Join(t.TempDir(), "merged")
		saveExperts(t, base, dir, rsLoRA)
		text, errs, code := hone(t, "", "merge", base, dir, "--out", out, "--text", "abba", "--json")
		var r merged
		if code != 0 || json.Unmarshal([]byte(text), &r) != nil || !(r.KL < 1e-9) {
			t.Fatalf("exit %d, %s%s", code, text, errs)
		}
		if said := strings.HasPrefix(errs, "note: with rsLoRA on experts") && strings.Count(errs, "\n") == 1; said != rsLoRA {
			t.Errorf("rsLoRA %v: stderr is %q", rsLoRA, errs)
		}
	}
}

// saveExperts writes a LoRA of the experts.
func saveExperts(t *testing.T, base, dir string, rsLoRA bool) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Open(base, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	c := adapter.Default()
	c.TargetModules, c.UseRSLoRA = adapter.Modules{Names: []string{"w1", "w3"}}, rsLoRA
	l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	if err := l.Initialize(dev, device.F32, 1); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(dir, device.F32, model.Values); err != nil {
		t.Fatal(err)
	}
}
