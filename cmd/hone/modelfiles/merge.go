package modelfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"hone/adapter"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/loaded"
	"hone/device"
	"hone/internal/atomicfile"
	"hone/model"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// merged is the result of hone merge.
type merged struct {
	Model  string  `json:"model"`
	DType  string  `json:"dtype"`
	KL     float64 `json:"kl"`     // mean over Tokens of KL(adapted || merged), in nats
	Tokens int     `json:"tokens"` // of the text it was measured on
}

// Merge is hone merge, which folds an adapter into its base.
func Merge(a *cli.App) *cobra.Command {
	out, text, save, shard, flags := "", probeText, "f32", "5GB", &loaded.Flags{}
	cmd := &cobra.Command{
		Use:   "merge MODEL ADAPTER",
		Short: "Fold an adapter into its base",
		Long: "Adds an adapter's updates to the weights of its base, which makes a model of its own, and reports how far the saved\n" +
			"model is from the base with the adapter: the mean KL divergence of their predictions on a text.",
		Example: "  hone merge runs/first/model runs/adapter/adapter --out runs/merged",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return errors.New("name the folder of the merged model by --out")
			}
			stored, err := device.ParseDType(save)
			if err != nil || stored != device.F32 && stored != device.BF16 {
				return fmt.Errorf("--save-dtype is %q; use f32 or bf16", save)
			}
			size, err := safetensors.ParseSize(shard)
			if err != nil {
				return fmt.Errorf("--shard-size: %w", err)
			}
			flags.Device, flags.DType = "cpu", "f32"
			r, err := (&merging{args[0], args[1], saving{out, stored, size}, flags, text, a.Err}).run(cmd.Context())
			if err != nil {
				return err
			}
			return a.Result(r, func(w io.Writer) {
				fmt.Fprintf(w, "merged model  %s (%s)\nKL            %.3g nats per token on %d tokens\n", r.Model, r.DType, r.KL, r.Tokens)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder of the merged model")
	cmd.Flags().StringVar(&text, "text", text, "text to compare the predictions on")
	cmd.Flags().StringVar(&save, "save-dtype", save, "of the saved weights: f32 or bf16")
	cmd.Flags().StringVar(&shard, "shard-size", shard, "largest file of the saved weights, as in 2GB")
	cmd.Flags().IntVar(&flags.Bits, "bits", 0, "the adapter was trained beside weights in 4 or 8 bits (method=qlora), which the predictions are compared with")
	cmd.Flags().IntVar(&flags.Threads, "threads", 0, "cores to use; 0: all")
	return cmd
}

// probeText is what predictions are compared on unless the user gives a text.
const probeText = "The quick brown fox jumps over the lazy dog. In 1969, two people walked on the moon for the first time.\n\n" +
	"func add(a, b int) int {\n\treturn a + b\n}\n"

// saving says how a model is saved.
type saving struct {
	out    string // folder
	stored device.DType
	shard  int64 // bytes of the largest file
}

// merging is what hone merge was asked for.
type merging struct {
	base, adapter string // folders
	to            saving
	flags         *loaded.Flags
	text          string // to compare the predictions on
	notes         io.Writer
}

// run merges in f32, whatever the weights are saved in, and measures what was saved against the base with the adapter.
func (c *merging) run(ctx context.Context) (*merged, error) {
	if err := cli.CheckFree(c.to.out); err != nil {
		return nil, err
	}
	kind, err := adapter.Kind(c.adapter)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "LORA":
	case adapter.PromptTuning, adapter.PrefixTuning, adapter.PTuning:
		return nil, fmt.Errorf("the adapter %s is of kind %s, which adds tokens before a text and no update of weights, so there is nothing to merge; use it with --adapter", c.adapter, kind)
	default:
		return nil, fmt.Errorf("the adapter %s is of kind %s; hone merges LORA, so merge it with PEFT", c.adapter, kind)
	}
	full := *c.flags
	full.Bits = 0
	m, err := full.Load(c.base)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	ids := m.Tok.Encode(nil, []byte(c.text))
	if ids = ids[:min(len(ids), m.Model.Shape().MaxPositions)]; len(ids) == 0 {
		return nil, errors.New("--text is empty; give a text to compare the predictions on")
	}
	l, err := adapter.Open(c.adapter, adapter.Model{Model: m.Model.Model, Params: m.Model.Params}, m.Dev, m.DType)
	if err != nil {
		return nil, err
	}
	defer l.Free()
	if note := l.Note(); note != "" {
		fmt.Fprintln(c.notes, "note:", note)
	}
	// Before the merge changes the weights that the adapter stands beside.
	want, err := c.adapted(m, ids)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(want, notFinite) { // a folder that nobody could use would be written, and no divergence told
		return nil, fmt.Errorf("what %s computes with %s is not finite: the weights of one are damaged or training diverged; "+
			"take an earlier checkpoint", c.base, c.adapter)
	}
	if err := l.Merge(); err != nil {
		return nil, err
	}
	if err := cli.WriteFolder(c.to.out, func(dir string) error { return c.save(ctx, m, dir) }); err != nil {
		return nil, err
	}
	// The saved files are what is measured, with all rounding, and not the model in memory.
	saved, err := full.Load(c.to.out)
	if err != nil {
		return nil, err
	}
	defer saved.Close()
	got, err := logProbs(saved, ids)
	if err != nil {
		return nil, err
	}
	return &merged{c.to.out, c.to.stored.String(), divergence(want, got, m.Model.Shape().Vocab), len(ids)}, nil
}

// adapted are the predictions of the base with the adapter: of m, or with --bits those beside the packed weights that it was trained with.
func (c *merging) adapted(m *loaded.Model, ids []int32) ([]float32, error) {
	if c.flags.Bits == 0 {
		return logProbs(m, ids)
	}
	packed := *c.flags
	packed.Adapters = []string{c.adapter}
	m, err := packed.Open(c.base)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return logProbs(m, ids)
}

// save writes the files of the merged model m to a folder.
func (c *merging) save(ctx context.Context, m *loaded.Model, dir string) error {
	if err := m.Tok.Save(dir); err != nil {
		return err
	}
	if err := copyTemplate(dir, c.adapter, c.base); err != nil {
		return err
	}
	m.Model.ShardSize = c.to.shard
	return m.Model.Save(dir, c.to.stored, func(p nn.Named) ([]float32, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return model.Values(p)
	})
}

// copyTemplate puts the first chat template there is in from into out, with the one for tools that stands beside it.
func copyTemplate(out string, from ...string) error {
	const name, tools = "chat_template.jinja", "additional_chat_templates/tool_use.jinja"
	for _, dir := range from {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = atomicfile.WriteFile(filepath.Join(out, name), text)
		}
		if err != nil {
			return err
		}
		if text, err = os.ReadFile(filepath.Join(dir, filepath.FromSlash(tools))); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		to := filepath.Join(out, filepath.FromSlash(tools))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o777)
		}
		if err == nil {
			err = atomicfile.WriteFile(to, text)
		}
		return err
	}
	return nil
}

// logProbs are the log-probabilities of every next token at every position: [N, V].
func logProbs(m *loaded.Model, ids []int32) ([]float32, error) {
	v, err := logitsOf(m, ids)
	vocab := m.Model.Shape().Vocab
	for row := 0; row < len(v); row += vocab {
		logSoftmax(v[row : row+vocab])
	}
	return v, err
}

// logitsOf are the scores of every next token at every position: [N, V].
func logitsOf(m *loaded.Model, ids []int32) ([]float32, error) {
	tape := tensor.NewTape(m.Dev, m.DType)
	defer tape.Reset()
	tape.Infer()
	positions := make([]int32, len(ids))
	for i := range positions {
		positions[i] = int32(i)
	}
	var logits *tensor.Tensor
	err := tensor.Try(func() {
		logits = nn.Logits(m.Model, m.Model.Hidden(nn.NewInput(tape, ids, positions, []int32{0, int32(len(ids))})), nil)
	})
	if err != nil {
		return nil, err
	}
	return logits.Float32s()
}

// logSoftmax turns logits of a position into log-probabilities, in double precision and less the largest, so that none overflows.
func logSoftmax(v []float32) {
	most, sum := math.Inf(-1), 0.0
	for _, x := range v {
		most = max(most, float64(x))
	}
	for _, x := range v {
		sum += math.Exp(float64(x) - most)
	}
	for i, x := range v {
		v[i] = float32(float64(x) - most - math.Log(sum))
	}
}

// divergence is the mean over rows of sum p·(log p - log q).
func divergence(p, q []float32, vocab int) float64 {
	sum := 0.0
	for i := range p {
		sum += math.Exp(float64(p[i])) * (float64(p[i]) - float64(q[i]))
	}
	// a divergence of nearly 0 is below it by rounding
	return max(sum, 0) / float64(len(p)/vocab)
}
