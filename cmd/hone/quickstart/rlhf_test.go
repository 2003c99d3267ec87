package quickstart

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/device/cpu"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/lm"
)

func TestAnnotator(t *testing.T) {
	for answer, want := range map[string]int{"func f() int {\n\treturn 1\n}": 2, "func f() int { return 1\n}": 1, "func f() int {": 0, "": 0} {
		if got := annotate(task{instruction: "f returns 1.\nfunc f() int"}, answer); got != want {
			t.Errorf("%q is worth %d, want %d", answer, got, want)
		}
	}
}

func TestInterval(t *testing.T) {
	mean, ci := interval([]float64{1, 2, 3, 4})
	if half := 1.959964 * math.Sqrt(5.0/3/4); mean != 2.5 || math.Abs(ci[1]-mean-half) > 1e-12 || math.Abs(mean-ci[0]-half) > 1e-12 {
		t.Errorf("mean %v, interval %v", mean, ci)
	}
}

// quickFolder makes the folder of a quickstart up to the fine-tuned model, in small: a model, pairs, and sft-full.
func quickFolder(t *testing.T) *quickstart {
	t.Helper()
	q := &quickstart{app: &cli.App{Out: io.Discard}, train: train, out: filepath.Join(t.TempDir(), "quick"), steps: 20}
	var text, pairs strings.Builder
	for i := range 60 {
		function := fmt.Sprintf("func f%d() int {\n\treturn %d\n}", i%9, i%9)
		fmt.Fprintf(&text, "%s\n\n", function)
		line, err := json.Marshal(map[string]any{"n": i, "messages": []map[string]string{{"role": "user", "content": fmt.Sprintf("f%d returns %d.", i%9, i%9)}, {"role": "assistant", "content": function}}})
		if err != nil {
			t.Fatal(err)
		}
		pairs.Write(append(line, '\n'))
	}
	source := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(source, []byte(text.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	base := lm.DefaultPretrain()
	mustTrain(t, &base, &base.Training, "data="+source, "out="+q.out, "steps=30", "model.hidden_size=32", "model.num_hidden_layers=1", "model.max_position_embeddings=256", "sequence_length=64",
		"tokenizer.vocab_size=300", "validation_fraction=0", "optimizer.learning_rate=0.01")
	if err := os.WriteFile(q.path("pairs.jsonl"), []byte(pairs.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	tuned := lm.DefaultSFT()
	mustTrain(t, &tuned, &tuned.Training, "model="+q.path("model"), "data="+q.path("pairs.jsonl"), "out="+q.path("sft-full"), "steps=20", "chat_template=zephyr", "sequence_length=256",
		"optimizer.learning_rate=0.01")
	return q
}

// mustTrain runs a recipe with keys.
func mustTrain(t *testing.T, r recipe.Runner, c *recipe.Training, keys ...string) {
	t.Helper()
	if err := config.Load(r, "", keys); err != nil {
		t.Fatal(err)
	}
	if _, err := train(t.Context(), r, c); err != nil {
		t.Fatal(err)
	}
}

// train is a quickstart's: it runs a recipe on the processor.
func train(ctx context.Context, r recipe.Runner, _ *recipe.Training) (*recipe.Summary, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	return r.Run(ctx, recipe.Env{Device: dev})
}

// TestQuickTable measures the stages of a small quickstart whose later models are the fine-tuned one again: they must come out alike.
func TestQuickTable(t *testing.T) {
	q := quickFolder(t)
	var preferences strings.Builder
	for i := range 40 {
		fmt.Fprintf(&preferences, `{"n":%d,"prompt":[{"role":"user","content":"f returns %d."}],"chosen":[{"role":"assistant","content":"func f() {}"}],"rejected":[{"role":"assistant","content":"func f( {"}]}`+"\n", i, i)
	}
	if err := os.WriteFile(q.path("preferences.jsonl"), []byte(preferences.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := rewardModel(context.Background(), q); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ppo", "dpo"} {
		if err := os.CopyFS(q.path(name, "model"), os.DirFS(q.path("sft-full", "model"))); err != nil {
			t.Fatal(err)
		}
	}
	train, held, err := tasks(q.path("pairs.jsonl"), lm.DefaultSFT().ValidationFraction)
	if err != nil || len(train)+len(held) != 60 || len(held) == 0 {
		t.Fatalf("%d and %d tasks, %v", len(train), len(held), err)
	}
	rows, err := q.table(context.Background(), held, true)
	if err != nil || len(rows) != 4 {
		t.Fatalf("%+v, %v", rows, err)
	}
	base, sft, ppo := rows[0], rows[1], rows[2]
	if math.Abs(sft.KL) > 1e-3 || !(base.HeldOutLoss > sft.HeldOutLoss) {
		t.Errorf("base %+v, sft %+v", base, sft)
	}
	if ppo.Stage = sft.Stage; !reflect.DeepEqual(ppo, sft) || sft.Reward == nil {
		t.Errorf("the same model is %+v as sft and %+v as ppo", sft, ppo)
	}
	var out strings.Builder
	if showTable(&out, rows); strings.Count(out.String(), "\n") != 7 || !strings.Contains(out.String(), "stand-in") {
		t.Errorf("%s", out.String())
	}
	line, err := json.Marshal(map[string]any{"table": rows})
	for _, key := range []string{`"stage":"base"`, `"parse_rate":`, `"heldout_loss":`, `"reward":`, `"kl":`} {
		if err != nil || !strings.Contains(string(line), key) {
			t.Errorf("the object lacks %s: %s, %v", key, line, err)
		}
	}
	for _, name := range []string{"reward", "ppo", "dpo"} {
		if err := os.RemoveAll(q.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	// without preferences there is a table of what there is, and no reward in it
	early, err := q.table(context.Background(), held, false)
	if err != nil || len(early) != 2 {
		t.Fatalf("%+v, %v", early, err)
	}
	for i := range early {
		if rows[i].Reward, rows[i].RewardCI = nil, nil; !reflect.DeepEqual(early[i], rows[i]) {
			t.Errorf("without preferences %+v, with them %+v", early[i], rows[i])
		}
	}
	out.Reset()
	if showTable(&out, early); strings.Count(out.String(), "\n") != 5 || strings.Contains(out.String(), "stand-in") || strings.Count(out.String(), " - ") != len(early) {
		t.Errorf("%s", out.String())
	}
	results := map[string]*recipe.Summary{}
	if rows, err = rlhf(context.Background(), q, results); err != nil || len(rows) != 4 || len(results) != 3 {
		t.Errorf("%d stages, %d rows, %v", len(results), len(rows), err)
	}
}
