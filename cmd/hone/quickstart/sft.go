package quickstart

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"hone/plan"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/lm"
)

// Rate is a learning rate that suits the quickstart's model with a method, of 1, 2 and 5 times the powers of ten; "" where it is the recipe's.
func Rate(method string) string { return rates[method] }

var rates = map[string]string{"full": "2e-3", "lora": "1e-2", "qlora": "1e-2", "prompt": "0.3"}

// sft teaches the pretrained model to write functions from their comments and signatures.
func sft(method string) func(context.Context, *quickstart) (*recipe.Summary, error) {
	return func(ctx context.Context, q *quickstart) (*recipe.Summary, error) {
		if len(q.source) == 0 {
			return nil, nil
		}
		pairs := filepath.Join(q.out, "pairs.jsonl")
		if _, err := writePairs(pairs, q.source); err != nil {
			return nil, err
		}
		c := lm.DefaultSFT()
		steps := max(q.steps/20, 1)
		if err := config.Load(&c, "", []string{
			"model=" + filepath.Join(q.out, "model"), "data=" + pairs, "out=" + filepath.Join(q.out, "sft-"+method), "method=" + method,
			fmt.Sprint("steps=", steps), "chat_template=zephyr", "sequence_length=256", "batch_size=8", "too_long=drop", "optimizer.learning_rate=" + Rate(method),
			"eval.on_start=true", fmt.Sprint("eval.every=", max(steps/2, 1)), "eval.max_tokens=16384", "samples.max_tokens=80", "samples.temperature=0",
			fmt.Sprint("samples.every=", steps), "checkpoint.keep_last=1",
		}); err != nil {
			return nil, err
		}
		c.Resume = q.resume
		return q.train(ctx, &c, &c.Training)
	}
}

// tuned prints the stages of fine-tuning side by side.
func tuned(out io.Writer, results map[string]*recipe.Summary) {
	full, lora := results["sft"], results["sft_lora"]
	if full == nil || lora == nil {
		return
	}
	fmt.Fprintln(out, "\nfunctions from their comments and signatures, held-out pairs:")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "model\tloss\ttrained\ts/step\tpeak memory\t")
	if base, ok := full.Before["loss"]; ok { // which a run that goes on does not measure again
		fmt.Fprintf(w, "base\t%.4f\t\t\t\t\n", base)
	}
	for _, s := range []struct {
		name string
		*recipe.Summary
	}{{"full", full}, {"LoRA", lora}} {
		fmt.Fprintf(w, "%s\t%.4f\t%d\t%.3f\t%s\t\n", s.name, s.Validation["loss"], s.Trainable, s.Seconds/float64(s.Steps), plan.Bytes(s.PeakMemoryBytes))
	}
	w.Flush()
}
