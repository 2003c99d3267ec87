package modelfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hone/adapter"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/loaded"
	"hone/cmd/hone/machine"
	"hone/convert"
	"hone/gguf"
	"hone/model"
	"hone/plan"
	"hone/safetensors"
	"hone/tokenizer"
)

type exportSettings struct {
	to, quant, out, shard string
	flags                 loaded.Flags
}

// Export is hone export, which writes a model for other programs.
func Export(a *cli.App) *cobra.Command {
	c := exportSettings{}
	cmd := &cobra.Command{
		Use:   "export MODEL --to gguf|hf",
		Short: "Write a model for other programs",
		Long: "Writes a model folder as a GGUF file, for llama.cpp and what is built on it, or as another folder in Hugging Face layout. A GGUF file is\n" +
			"read back, and how far its predictions are from the model's is printed.\n\n" +
			"--quant: " + strings.Join(gguf.Mixtures(), ", ") + "; for folders f32, f16 or bf16.",
		Example: "  hone export runs/sft/model --to gguf --quant q4_k_m --out model.gguf\n  hone export runs/sft/model --to hf --quant bf16 --shard-size 2GB --out for-the-hub",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := machine.ModelDir(args[0])
			if err != nil {
				return err
			}
			r, err := c.run(cmd.Context(), dir)
			if err != nil {
				return err
			}
			return a.Result(r, r.print)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.to, "to", "", "gguf or hf")
	f.StringVar(&c.quant, "quant", "", "types of the weights; default: f16 for gguf, as they are for hf")
	f.StringVar(&c.out, "out", "", "the file or folder to write; default: MODEL's name with the types, here")
	f.StringVar(&c.shard, "shard-size", "5GB", "hf: no file is larger, if tensors allow")
	f.IntVar(&c.flags.Threads, "threads", 0, "cores to use for the comparison; 0: all")
	return cmd
}

// exported is the result of hone export.
type exported struct {
	Out     string   `json:"out"`
	Types   string   `json:"types"`
	Bytes   int64    `json:"bytes"`
	KL      *float64 `json:"kl,omitempty"`        // mean over Tokens of KL(model || file), in nats
	MaxDiff *float64 `json:"max_logit,omitempty"` // largest difference between logits
	Tokens  int      `json:"tokens,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	Seconds float64  `json:"seconds"` // without the comparison
}

func (r *exported) print(w io.Writer) {
	fmt.Fprintf(w, "written  %s (%s, %.1f MB, %.1f s)\n", r.Out, r.Types, float64(r.Bytes)/1e6, r.Seconds)
	if r.KL != nil {
		fmt.Fprintf(w, "KL       %.3g nats per token on %d tokens\nlogits   differ by at most %.3g\n", *r.KL, r.Tokens, *r.MaxDiff)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note     %s\n", n)
	}
}

// run refuses adapters, which are no models, before it looks at the format.
func (c *exportSettings) run(ctx context.Context, dir string) (*exported, error) {
	if _, err := os.Stat(filepath.Join(dir, adapter.ConfigName)); err == nil {
		return nil, fmt.Errorf("%s is an adapter; fold it into its base by hone merge, then export that", dir)
	}
	switch c.to {
	case "gguf":
		return c.gguf(ctx, dir)
	case "hf":
		return c.folder(ctx, dir)
	}
	return nil, fmt.Errorf("--to is %q; use gguf or hf", c.to)
}

// gguf writes a GGUF file and reads it back. A file that cannot be compared stays, and the error says so: writing it was the work.
func (c *exportSettings) gguf(ctx context.Context, dir string) (*exported, error) {
	begin := time.Now()
	if c.quant == "" {
		c.quant = "f16"
	}
	mix, err := gguf.ParseMixture(c.quant)
	if err != nil {
		return nil, err
	}
	if c.out == "" {
		c.out = filepath.Base(filepath.Clean(dir)) + "." + mix.Name + ".gguf"
		// Most models lie in folders of one name: the file may well be of another run.
		if _, err := os.Stat(c.out); err == nil {
			return nil, fmt.Errorf("%s is there already; name the file to write by --out; where it is this one, it is written over", c.out)
		}
	}
	if err := replaceable(c.out); err != nil {
		return nil, err
	}
	f, err := convert.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := model.Check(dir, plan.NewDevice()); err != nil { // before a file is written that nobody could use
		return nil, err
	}
	if err := f.Write(ctx, c.out, mix); err != nil {
		return nil, err
	}
	info, err := os.Stat(c.out)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s is written, but not read back: %w", c.out, ctx.Err())
	}
	r := &exported{Out: c.out, Types: mix.Name, Bytes: info.Size(), Notes: f.Notes, Seconds: time.Since(begin).Seconds()}
	if err := r.compare(dir, &c.flags); err != nil {
		return nil, fmt.Errorf("%s is written, but reading it back failed: %w", c.out, err)
	}
	return r, nil
}

// replaceable refuses to write over a file that is no GGUF file, such as the weights of the model that is exported.
func replaceable(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 { // what cannot be made or replaced is told when it is
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err != nil || string(head) != "GGUF" {
		return fmt.Errorf("%s is there and is no GGUF file; name another by --out", path)
	}
	return nil
}

// compare reads the file back and measures how far it is from the model, one of them in memory at a time.
func (r *exported) compare(dir string, flags *loaded.Flags) error {
	flags.Device, flags.DType = "cpu", "f32"
	m, err := flags.Open(dir)
	if err != nil {
		return err
	}
	shape := m.Model.Shape()
	ids := probe(shape.Vocab, shape.MaxPositions)
	if tok, err := tokenizer.Load(dir); err == nil {
		ids = tok.Encode(nil, []byte(probeText))
		ids = ids[:min(len(ids), shape.MaxPositions)]
	}
	// The logits of a short text are kept and the model is closed: two models need not fit into memory.
	want, err := logitsOf(m, ids)
	m.Close()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(want, notFinite) {
		return errors.New("the model's own logits are not finite: its weights are damaged or training diverged")
	}
	file, err := convert.Open(r.Out)
	if err != nil {
		return err
	}
	defer file.Close()
	dev, done, err := machine.OpenDevice(flags.Device, flags.Threads)
	if err != nil {
		return err
	}
	defer done()
	back, err := model.OpenFrom(file.Config, dev, m.DType, func(name string, shape []int) ([]float32, error) {
		v, got, err := file.Float32(name)
		if err == nil && !slices.Equal(got, shape) {
			err = fmt.Errorf("tensor %s has the shape %v and should have %v", name, got, shape)
		}
		return v, err
	})
	if err != nil {
		return err
	}
	defer back.Free()
	got, err := logitsOf(&loaded.Model{Dev: dev, DType: m.DType, Model: back}, ids)
	if err != nil {
		return err
	}
	most := 0.0
	for i := range got {
		most = max(most, math.Abs(float64(got[i]-want[i])))
	}
	// Logits themselves are compared before: a constant on all of a row changes no probability.
	for row := 0; row < len(got); row += shape.Vocab {
		logSoftmax(want[row : row+shape.Vocab])
		logSoftmax(got[row : row+shape.Vocab])
	}
	kl := divergence(want, got, shape.Vocab)
	r.KL, r.MaxDiff, r.Tokens = &kl, &most, len(ids)
	return nil
}

// probe is some tokens for models without a tokenizer.
func probe(vocab, most int) []int32 {
	ids := make([]int32, min(64, most))
	for i := range ids {
		ids[i] = int32((i*i + 7*i) % vocab)
	}
	return ids
}

// folder copies a model folder with weights of another type or in other shards.
func (c *exportSettings) folder(ctx context.Context, dir string) (*exported, error) {
	begin := time.Now()
	stored, ok := map[string]safetensors.DType{"": 0, "f32": safetensors.F32, "f16": safetensors.F16, "bf16": safetensors.BF16}[c.quant]
	if !ok {
		return nil, fmt.Errorf("--quant is %q; folders take f32, f16 or bf16", c.quant)
	}
	size, err := safetensors.ParseSize(c.shard)
	if err != nil {
		return nil, fmt.Errorf("--shard-size: %w", err)
	}
	if c.out == "" {
		return nil, errors.New("name the folder to write by --out")
	}
	var n int64
	err = cli.WriteFolder(c.out, func(to string) (err error) {
		n, err = convert.Copy(ctx, to, dir, stored, size)
		return err
	})
	if err != nil {
		return nil, err
	}
	if c.quant == "" {
		c.quant = "as they were"
	}
	return &exported{Out: c.out, Types: c.quant, Bytes: n, Seconds: time.Since(begin).Seconds()}, nil
}

// notFinite is so of what no sound model computes.
func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }
