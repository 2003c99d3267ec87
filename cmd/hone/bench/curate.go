package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/corpus"
	"hone/cmd/hone/training"
	"hone/data"
	"hone/data/curate"
	"hone/internal/gosource"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/curation"
	"hone/recipe/lm"
	"hone/tokenizer"
)

// valueOfCuration is what hone bench curate is told.
type valueOfCuration struct {
	steps, seeds int
	seed, crawl  uint64   // the first, and that of the made crawl
	raw, held    []string // the user's own texts; none: made ones
	recipe       []string // keys of hone data curate
	dir          string
}

// valueText is the raw text after some of the steps.
type valueText struct {
	Name   string         `json:"name"`
	Keys   []string       `json:"keys"` // of hone data curate; none: the raw text
	Count  curate.Count   `json:"count"`
	Losses []float64      `json:"losses"`         // held-out, nats per token, by seed
	Bigram float64        `json:"bigram"`         // held-out loss of counting pairs of tokens in this text: a model that is not below has learnt little
	Gain   *pairedSummary `json:"gain,omitempty"` // raw less this text's loss

	paths []string
}

// curateCommand asks of a curation what it is for: whether a model learns more from what it leaves than from as much of the raw text.
func curateCommand(a *cli.App) *cobra.Command {
	v := &valueOfCuration{}
	cmd := &cobra.Command{
		Use: "curate [path=value ...]", Short: "Train on raw and on curated text and compare the held-out loss",
		Long: `Curates a raw text, trains the same small model on as many tokens of the raw and of the curated text, and compares the loss on held-out text; between
the two, on the text after deduplication alone, after the language filter alone, and after all filters.

The analysis is fixed before the runs. A seed is a pair: the same first weights, steps, learning rates and tokenizer, only the text differs. The
question is whether the mean over the seeds of raw loss less curated loss is above 0, by Student's 95% interval of paired differences. The other texts
are there to see which step gives how much; no verdict is made of them. The tokenizer is trained on the raw text, of which the others are parts.

Without --raw the text is a made crawl: of 100 pages 12 are good, 12 copies of these, 50 in other languages and 26 of poor quality, as RefinedWeb found in
Common Crawl. Good pages are the comments in Go's source; those that are held out come from other folders, and share no 13 words in a row with any page.
Keys are those of hone data curate; the default is filters=` + defaultValueFilters + ` language.keep=en.`,
		Example: "  hone bench curate\n  hone bench curate --raw crawl/ --held-out book.txt --seeds 8 filters=mend,gopher_quality,fineweb",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if v.steps < 1 || v.seeds < 2 {
				return fmt.Errorf("steps is %d and seeds %d; use at least 1 and 2, for an error needs two pairs", v.steps, v.seeds)
			}
			if (len(v.raw) > 0) != (len(v.held) > 0) {
				return errors.New("--raw and --held-out belong together; give both or none")
			}
			if v.dir, err = os.MkdirTemp("", "hone-bench-curate-"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(v.dir)) }()
			v.recipe = args
			r, err := v.run(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.Result(r, func(w io.Writer) { showValue(w, r) })
		},
	}
	cmd.Flags().IntVar(&v.steps, "steps", 400, "training steps, of 1024 tokens")
	cmd.Flags().IntVar(&v.seeds, "seeds", 5, "runs with each text")
	cmd.Flags().Uint64Var(&v.seed, "seed", 1, "the first of the seeds: runs with --seeds 3 and with --seed 4 --seeds 2 are those with --seeds 5")
	cmd.Flags().Uint64Var(&v.crawl, "crawl", 1, "which draw of the made crawl")
	cmd.Flags().StringSliceVar(&v.raw, "raw", nil, "text to curate (default: a made crawl)")
	cmd.Flags().StringSliceVar(&v.held, "held-out", nil, "text to judge by")
	return cmd
}

func (v *valueOfCuration) run(ctx context.Context, a *cli.App) (*curateResult, error) {
	c := curation.DefaultCurate()
	made := len(v.raw) == 0
	if made {
		if err := v.makeTexts(ctx, a); err != nil {
			return nil, err
		}
	}
	if err := config.Load(&c, "", []string{"filters=" + defaultValueFilters, "language.keep=en"}); err != nil {
		return nil, err
	}
	if err := config.Override(&c, v.recipe); err != nil {
		return nil, err
	}
	tok, err := v.tokenizer(ctx)
	if err != nil {
		return nil, err
	}
	r := &curateResult{}
	if r.Texts, err = v.texts(ctx, a, &c, tok); err != nil {
		return nil, err
	}
	if made {
		if r.Kinds, err = kindsOf(v.raw, r.Texts[len(r.Texts)-1].paths); err != nil {
			return nil, err
		}
	}
	for i := range uint64(v.seeds) {
		r.Seeds = append(r.Seeds, v.seed+i)
		for t := range r.Texts {
			text := &r.Texts[t]
			s, err := v.train(ctx, a, text.paths, v.seed+i, tok)
			if err != nil {
				return nil, err
			}
			text.Losses, text.Bigram, r.Tokens = append(text.Losses, s.Validation["loss"]), s.Bigram, s.Tokens
			fmt.Fprintf(a.Notes(), "seed %d, %s: %.4f\n", v.seed+i, text.Name, s.Validation["loss"])
		}
	}
	r.summarise()
	return r, nil
}

// heldTokens is how much held-out text a model is judged by.
const heldTokens = 1 << 17

// defaultValueFilters are FineWeb's, in its order.
const defaultValueFilters = "mend,language,gopher_repetition,gopher_quality,fineweb,pii"

// makeTexts writes the made crawl and the pages held out.
func (v *valueOfCuration) makeTexts(ctx context.Context, a *cli.App) error {
	src, err := gosource.Folder(ctx)
	if err != nil {
		return fmt.Errorf("%w; name texts by --raw and --held-out", err)
	}
	p, err := readProse(ctx, os.DirFS(src))
	if err != nil {
		return err
	}
	v.raw, v.held = []string{filepath.Join(v.dir, "raw.jsonl")}, []string{filepath.Join(v.dir, "held.jsonl")}
	if err := writePages(v.raw[0], madeCrawl(p, v.crawl)); err != nil {
		return err
	}
	all := len(p.held)
	if err := p.clean(v.raw[0]); err != nil {
		return err
	}
	fmt.Fprintf(a.Notes(), "held out: %d pages; %d more share 13 words in a row with the crawl and do not count\n", len(p.held), all-len(p.held))
	held := make([]page, len(p.held))
	for i, at := range rand.New(rand.NewPCG(v.crawl, 4)).Perm(len(held)) { // for the first heldTokens of them count
		held[i] = page{"held", p.held[at]}
	}
	return writePages(v.held[0], held)
}

// tokenizer trains the one tokenizer on the raw text and returns its folder.
func (v *valueOfCuration) tokenizer(ctx context.Context) (string, error) {
	const endOfText = "<|endoftext|>"
	dir := filepath.Join(v.dir, "tokenizer")
	t, err := tokenizer.Train(ctx, data.Texts(data.Sources{Paths: v.raw}.Documents(&data.Stats{})), tokenizer.TrainConfig{VocabSize: 1024,
		Pattern: tokenizer.PatternGPT2, SpecialTokens: []string{endOfText}, BOS: endOfText, EOS: endOfText, Workers: runtime.GOMAXPROCS(0)})
	if err != nil {
		return "", err
	}
	return dir, t.Save(dir)
}

// texts curates: the raw text first, the wholly curated one last.
func (v *valueOfCuration) texts(ctx context.Context, a *cli.App, c *curation.Curate, tok string) ([]valueText, error) {
	texts := []valueText{{Name: "raw", paths: v.raw}}
	for i, t := range partsOf(c) {
		part := *c
		part.Filters, part.Dedup = t.filters, t.dedup
		part.Data, part.Out, part.Tokenizer = v.raw, filepath.Join(v.dir, fmt.Sprint("text-", i)), tok
		result, _, err := part.Run(ctx, recipe.Env{})
		if err != nil {
			return nil, err
		}
		if result.Kept.Tokens == 0 {
			return nil, fmt.Errorf("nothing is left of the text %q; use filters that suit it", t.name)
		}
		fmt.Fprintf(a.Notes(), "\n%s:\n", t.name)
		corpus.Funnel(a.Notes(), result, "documents")
		texts[0].Count = result.Read
		texts = append(texts, valueText{Name: t.name, Keys: []string{fmt.Sprint("filters=", t.filters), fmt.Sprint("dedup=", t.dedup)}, Count: result.Kept, paths: []string{part.Out}})
	}
	return texts, nil
}

// filteredText is the text after all filters and before deduplication.
const filteredText = "filtered"

// curationSteps are some of the steps of a recipe.
type curationSteps struct {
	name           string
	filters, dedup []string
}

// partsOf are parts of a curation that differ from one another, and all of it last.
func partsOf(c *curation.Curate) (parts []curationSteps) {
	all := curationSteps{"curated", c.Filters, c.Dedup}
	if len(c.Dedup) > 0 && len(c.Filters) > 0 {
		parts = append(parts, curationSteps{"deduplicated", nil, c.Dedup})
	}
	if slices.Contains(c.Filters, "language") {
		alone := slices.DeleteFunc(slices.Clone(c.Filters), func(name string) bool { return name != "mend" && name != "language" })
		if len(alone) < len(c.Filters) {
			parts = append(parts, curationSteps{"language alone", alone, nil})
		}
	}
	if len(c.Dedup) > 0 && len(c.Filters) > 0 {
		parts = append(parts, curationSteps{filteredText, c.Filters, nil})
	}
	return append(parts, all)
}

// train trains a small model for a short time. Its two layers and fresh weights of deviation 0.08, near the root of 1/128, are learnt quickly; with the 0.02
// that is usual for wide models a run of this length ends before the model knows pairs of tokens, at a loss that depends on the seed more than on the text.
func (v *valueOfCuration) train(ctx context.Context, a *cli.App, text []string, seed uint64, tok string) (*recipe.Summary, error) {
	p := lm.DefaultPretrain()
	args := []string{
		fmt.Sprintf("seed=%d", seed), fmt.Sprintf("steps=%d", v.steps), "tokenizer.path=" + tok, "sequence_length=128", "batch_size=8",
		"model.hidden_size=128", "model.num_hidden_layers=2", "model.num_attention_heads=4", "model.initializer_range=0.08", "model.tie_word_embeddings=true",
		"optimizer.learning_rate=4e-3", "schedule.name=cosine", "schedule.warmup_steps=0.1", "eval.every=0", fmt.Sprintf("eval.max_tokens=%d", heldTokens), "checkpoint.every=0",
	}
	if err := config.Load(&p, "", args); err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp(v.dir, "run-")
	if err != nil {
		return nil, err
	}
	p.Data, p.ValidationData, p.Out = text, v.held, filepath.Join(out, "run")
	s, err := training.Train(ctx, a, &p, &p.Training)
	if err == nil && s.Interrupted {
		err = context.Canceled
	}
	return s, errors.Join(err, os.RemoveAll(out))
}
