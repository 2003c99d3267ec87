package quickstart

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/recipe"
)

// TestQuickstartObject: each stage under its name, and the table where there is one.
func TestQuickstartObject(t *testing.T) {
	results := map[string]*recipe.Summary{"pretrain": {Steps: 1}}
	if got := object(results, nil); len(got) != 1 || got["pretrain"] != results["pretrain"] {
		t.Errorf("without a table: %v", got)
	}
	if got := object(results, []row{{Stage: "base"}}); len(got) != 2 || len(got["table"].([]row)) != 1 {
		t.Errorf("with one: %v", got)
	}
	var out bytes.Buffer
	q := &quickstart{app: &cli.App{Out: &out}, out: "o", steps: 2000}
	for steps, want := range map[int]int{2000: 60, 1000: 30, 10: 1, 4000: 120} {
		if q.steps = steps; q.scaled(60) != want {
			t.Errorf("of 60 steps %d are made with --steps %d, want %d", q.scaled(60), steps, want)
		}
	}
	if got := q.path("a", "b"); got != filepath.Join("o", "a", "b") {
		t.Errorf("a path is %s", got)
	}
	if rows, err := q.align(t.Context(), results); rows != nil || err != nil || out.Len() != 0 {
		t.Errorf("without a tuned model: %v, %v, said %q", rows, err, out.String())
	}
	if got := (&tooFew{3, 40}).Error(); got != "the stand-in annotator could tell only 3 of 40 pairs of answers apart; train longer with --steps" {
		t.Errorf("too few: %s", got)
	}
	out.Reset()
	tuned(&out, map[string]*recipe.Summary{"sft": {Before: map[string]float64{"loss": 3}, Validation: map[string]float64{"loss": 2}, Trainable: 100, Seconds: 10, Steps: 20, PeakMemoryBytes: 1 << 20},
		"sft_lora": {Validation: map[string]float64{"loss": 2.5}, Trainable: 10, Seconds: 5, Steps: 20, PeakMemoryBytes: 1 << 19}})
	want := []string{"", "functions from their comments and signatures, held-out pairs:", "model loss trained s/step peak memory", "base 3.0000", "full 2.0000 100 0.500 1.0 MiB", "LoRA 2.5000 10 0.250 512.0 KiB"}
	var got []string // without the space that columns need
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the stages are %q, want %q", got, want)
	}
	out.Reset()
	tuned(&out, map[string]*recipe.Summary{"sft": {Steps: 1}, "sft_lora": {Steps: 1}})
	if strings.Contains(out.String(), "base") || !strings.Contains(out.String(), "LoRA") {
		t.Errorf("of a base that was not measured in this run: %q", out.String())
	}
	out.Reset()
	if tuned(&out, results); out.Len() != 0 {
		t.Errorf("without them: %q", out.String())
	}
	// Scripts of users read it: a key that is renamed or gone breaks them.
	line, err := json.Marshal(row{})
	if want := `{"stage":"","parse_rate":0,"parse_rate_ci95":[0,0],"heldout_loss":0,"heldout_loss_ci95":[0,0],"reward":null,"reward_ci95":null,"kl":0,"kl_ci95":[0,0]}`; string(line) != want || err != nil {
		t.Errorf("a row of the table is %s, %v, want %s", line, err, want)
	}
}

// TestStagesGoOn: with resume=true each stage goes on with its own run.
func TestStagesGoOn(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "a.go")
	if err := os.WriteFile(source, []byte("package p\n\n// F is one.\nfunc F() int { return 1 }\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	var resumed []bool
	q := &quickstart{out: dir, steps: 20, source: []string{source}}
	q.train = func(_ context.Context, _ recipe.Runner, c *recipe.Training) (*recipe.Summary, error) {
		resumed = append(resumed, c.Resume)
		return &recipe.Summary{}, nil
	}
	for _, arg := range []string{"resume=false", "resume=true"} {
		q.overrides, resumed = []string{"out=" + dir, "data=" + source, arg}, nil
		for _, run := range []func(context.Context, *quickstart) (*recipe.Summary, error){pretrain, sft("full"), rewardModel, ppo, dpo} {
			if _, err := run(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		if want := slices.Repeat([]bool{arg == "resume=true"}, 5); !slices.Equal(resumed, want) {
			t.Errorf("%s: %v", arg, resumed)
		}
	}
}
