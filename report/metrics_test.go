package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRewardsPage shows what a run that learns from rewards tells: a figure for each metric, the last table of a title, tiles.
func TestRewardsPage(t *testing.T) {
	dir := t.TempDir()
	lines := `{"event":"rollout","step":1,"iteration":1,"metrics":{"objective/scores":0.25,"objective/kl":0,"completions/mean_length":12,"completions/eos_share":0.5}}
{"event":"step","step":1,"loss":0.5,"tokens":10,"tokens_per_s":1,"metrics":{"policy/clipfrac_avg":0.1}}
{"event":"rollout","step":2,"iteration":2,"metrics":{"objective/scores":0.75,"objective/kl":1.5,"completions/mean_length":14,"completions/eos_share":1}}
{"event":"step","step":2,"loss":0.4,"tokens":20,"tokens_per_s":1,"metrics":{"policy/clipfrac_avg":0.2}}
{"event":"table","step":1,"title":"calibration","head":["confidence","pairs"],"rows":[["old","1"]]}
{"event":"table","step":2,"title":"calibration","head":["confidence","pairs"],"rows":[["<new>","2"]]}
{"event":"eval","step":2,"metrics":{"loss":0.6,"accuracy":0.875}}
`
	if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(lines), 0o666); err != nil {
		t.Fatal(err)
	}
	page := mustWrite(t, dir)
	for _, want := range []string{"objective/scores", "policy/clipfrac_avg", "&lt;new&gt;", "87.5%", ">14<", "tokens; ", "100% end by themselves", "on held-out data"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{">old<", "perplexity", "<new>"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
}

// TestKeptWeights: with early stopping the loss is that of the weights that are kept.
func TestKeptWeights(t *testing.T) {
	dir := t.TempDir()
	lines := `{"event":"step","step":1,"loss":0.5,"tokens":10,"tokens_per_s":1}
{"event":"eval","step":1,"metrics":{"loss":0.625,"perplexity":1.868}}
{"event":"step","step":2,"loss":0.4,"tokens":20,"tokens_per_s":1}
{"event":"eval","step":2,"metrics":{"loss":0.875,"perplexity":2.399}}
{"event":"info","step":2,"values":{"kept_step":1}}
`
	if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(lines), 0o666); err != nil {
		t.Fatal(err)
	}
	page := mustWrite(t, dir)
	for _, want := range []string{"of step 1, whose weights are kept", "1.868"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
