package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mustHone runs a command line with --json and returns what it prints on stdout.
func mustHone(t *testing.T, args ...string) string {
	t.Helper()
	out, notes, code := hone(t, "", append(args, "--json")...)
	if code != 0 {
		t.Fatalf("hone %s: %s", strings.Join(args, " "), notes)
	}
	return out
}

// TestPreferenceCommands goes from text to a reward model, a score, and models trained by DPO, PPO and GRPO.
func TestPreferenceCommands(t *testing.T) {
	dir := t.TempDir()
	var text, pairs, prompts strings.Builder
	for i := range 80 {
		question, good, bad := fmt.Sprintf("say %d:", i%7), " yes please", " no"
		fmt.Fprintf(&text, "%s%s\n%s%s\n", question, good, question, bad)
		fmt.Fprintf(&pairs, `{"id":%d,"prompt":%q,"chosen":%q,"rejected":%q,"annotator":"ann"}`+"\n", i, question, good, bad)
		fmt.Fprintf(&prompts, `{"prompt":%q}`+"\n", question)
	}
	for name, content := range map[string]string{"text.txt": text.String(), "pairs.jsonl": pairs.String(), "prompts.jsonl": prompts.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	mustHone(t, "pretrain", "data="+at("text.txt"), "out="+at("base"), "steps=30", "model.hidden_size=32", "model.num_hidden_layers=1", "sequence_length=32", "tokenizer.vocab_size=280",
		"validation_fraction=0", "optimizer.learning_rate=0.01")
	base := "model=" + at("base/model")
	mustHone(t, "reward", base, "data="+at("pairs.jsonl"), "out="+at("reward"), "steps=40", "sequence_length=32", "optimizer.learning_rate=0.01", "method=lora")
	var scores struct{ Scores []float64 }
	if err := json.Unmarshal([]byte(mustHone(t, "score", at("reward/adapter"), "--prompt", "say 3:", " yes please", " no")), &scores); err != nil {
		t.Fatal(err)
	}
	if len(scores.Scores) != 2 || scores.Scores[0] <= scores.Scores[1] {
		t.Errorf("scores %v", scores.Scores)
	}
	for _, args := range [][]string{
		{"dpo", "data=" + at("pairs.jsonl"), "steps=3"},
		{"ppo", "reward=" + at("reward/adapter"), "prompts=" + at("prompts.jsonl"), "iterations=1", "max_completion_length=4"},
		{"grpo", "reward=format:yes", "prompts=" + at("prompts.jsonl"), "iterations=1", "max_completion_length=4", "prompts_per_iteration=2"},
	} {
		var planned struct {
			Stage   string
			Peak    int64 `json:"peak_bytes"`
			Steps   int
			Seconds float64
		}
		out := mustHone(t, append(args, base, "out="+at(args[0]), "sequence_length=32", "--dry-run")...)
		if err := json.Unmarshal([]byte(out), &planned); err != nil || planned.Stage != args[0] || planned.Peak == 0 || planned.Steps == 0 || planned.Seconds == 0 {
			t.Errorf("%s --dry-run: %s, %v", args[0], out, err)
		}
		if _, err := os.Stat(at(args[0])); err == nil {
			t.Errorf("%s --dry-run started a run", args[0])
		}
		var sum struct{ Model string }
		out = mustHone(t, append(args, base, "out="+at(args[0]), "sequence_length=32")...)
		if err := json.Unmarshal([]byte(out), &sum); err != nil || sum.Model == "" {
			t.Errorf("%s: %s, %v", args[0], out, err)
		}
		if _, err := os.Stat(filepath.Join(at(args[0]), "report.html")); err != nil {
			t.Error(err)
		}
		if events, err := os.ReadFile(filepath.Join(at(args[0]), "metrics.jsonl")); args[0] == "dpo" && !strings.Contains(string(events), "--- the other answer") {
			t.Errorf("dpo shows both answers of a preference as one text (%v)", err)
		}
	}
	weights := at("reward/adapter/adapter_model.safetensors")
	damaged, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	copy(damaged[len(damaged)-4:], "\xff\xff\xff\xff")
	if err := os.WriteFile(weights, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := hone(t, "", "score", at("reward/adapter"), "text", "--json"); code != 1 || !strings.Contains(errs, "the score of text 1 is NaN: the model's weights are damaged or training diverged; take an earlier checkpoint") {
		t.Errorf("damaged weights: %d %q", code, errs)
	}
}
