// Package modelfiles has the commands for the files of models: hone import, export, merge and inspect.
package modelfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/convert"
	"hone/safetensors"
)

// Import is hone import, which makes a model folder of a GGUF file.
func Import(a *cli.App) *cobra.Command {
	out, save := "", ""
	cmd := &cobra.Command{
		Use:   "import FILE.gguf",
		Short: "Make a model folder of a GGUF file",
		Long: "Writes the model of a GGUF file as a folder in Hugging Face layout: config.json, safetensors, tokenizer, chat template. Quantised weights\n" +
			"become f32, which holds them exactly; files of f16 or bf16 keep their type.",
		Example: "  hone import SmolLM2-135M-Instruct.Q4_1.gguf --out smollm2\n  hone chat smollm2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := importModel(cmd.Context(), args[0], out, save)
			if err != nil {
				return err
			}
			return a.Result(r, func(w io.Writer) {
				fmt.Fprintf(w, "model       %s (%s)\nparameters  %d\ntokens      %d\ntime        %.1f s\n", r.Model, r.Type, r.Parameters, r.Tokens, r.Seconds)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the folder; default: the file's name without .gguf, here")
	cmd.Flags().StringVar(&save, "save-dtype", "", "of the saved weights: f32, f16 or bf16; default: what holds them exactly")
	return cmd
}

// imported is the result of hone import.
type imported struct {
	Model      string  `json:"model"`
	Type       string  `json:"model_type"`
	Parameters int     `json:"parameters"`
	Tokens     int     `json:"tokens"` // of the tokenizer, 0 if the file has none
	Seconds    float64 `json:"seconds"`
}

// importModel makes a folder of a file, or nothing: it appears when all of it is written.
func importModel(ctx context.Context, path, out, save string) (*imported, error) {
	begin := time.Now()
	stored, ok := map[string]safetensors.DType{"": 0, "f32": safetensors.F32, "f16": safetensors.F16, "bf16": safetensors.BF16}[save]
	if !ok {
		return nil, fmt.Errorf("--save-dtype is %q; use f32, f16 or bf16", save)
	}
	if out == "" {
		out = strings.TrimSuffix(filepath.Base(path), ".gguf")
	}
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s; name a GGUF file", path)
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a folder; name a GGUF file", path)
	}
	// before the file is opened, which may take a while
	if err := cli.CheckFree(out); err != nil {
		return nil, err
	}
	m, err := convert.Open(path)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if err := cli.WriteFolder(out, func(dir string) error { return m.Save(ctx, dir, stored) }); err != nil {
		return nil, err
	}
	r := &imported{Model: out, Type: m.Type}
	for _, t := range m.Tensors() {
		r.Parameters += t.Elements()
	}
	if m.Tokenizer != nil {
		r.Tokens = m.Tokenizer.VocabSize()
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}
