package modelfiles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/adapter"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/gguf"
	"hone/recipe"
	"hone/safetensors"
)

// Inspect is hone inspect, which shows what is in the files.
func Inspect(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE_OR_FOLDER",
		Short: "Show what is in a model's files",
		Long: "Lists tensors, shapes, types, parameters and bytes of a safetensors or GGUF file, a model folder or an adapter's folder, the memory\n" +
			"that the weights take once loaded, and what the files say about themselves. No weights are read.",
		Example: "  hone inspect runs/first/model\n  hone inspect model.gguf --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := inspect(args[0])
			if err != nil {
				return err
			}
			return a.Result(r, r.print)
		},
	}
}

// inspection is the result of hone inspect.
type inspection struct {
	Path       string         `json:"path"`
	Kind       string         `json:"kind"` // model, adapter, safetensors or gguf
	About      map[string]any `json:"about"`
	Tensors    []tensorLine   `json:"tensors"`
	Parameters int            `json:"parameters"`
	Bytes      int64          `json:"bytes"`
	Types      map[string]int `json:"types"`     // parameters of each type
	LoadF32    int64          `json:"load_f32"`  // bytes of the weights on a device
	LoadBF16   int64          `json:"load_bf16"` // matrices in bf16, vectors in f32
	order      []string       // of About
}

type tensorLine struct {
	Name  string `json:"name"`
	Type  string `json:"dtype"`
	Shape []int  `json:"shape"`
	Bytes int64  `json:"bytes"`
}

// inspect tells from a path what it holds, by its content rather than its name where the two may differ.
func inspect(path string) (*inspection, error) {
	r := &inspection{Path: path, About: map[string]any{}, Types: map[string]int{}}
	info, err := os.Stat(path)
	// A name with such an ending is a file that is missing, and no model of the cache.
	if ext := filepath.Ext(path); err != nil && ext != ".gguf" && ext != ".safetensors" { // perhaps the name of a model in the cache
		if path, err = machine.ModelDir(path); err == nil {
			r.Path = path
			info, err = os.Stat(path)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s; name a safetensors or GGUF file, or a folder", path)
	case err != nil:
		return nil, err
	case info.IsDir():
		err = r.folder(path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file; name a safetensors or GGUF file, or a folder", path)
	case isGGUF(path):
		err = r.gguf(path)
	case slices.Contains([]string{"config.json", adapter.ConfigName}, filepath.Base(path)): // it stands for its folder
		return inspect(filepath.Dir(path))
	case filepath.Ext(path) == ".json" && !strings.HasSuffix(path, ".index.json"):
		return nil, fmt.Errorf("%s holds no weights; name a safetensors or GGUF file, or the folder, %s", path, filepath.Dir(path))
	default:
		r.Kind = "safetensors"
		err = r.safetensors(path)
	}
	return r, err
}

// isGGUF looks at the first bytes, unless the name says it.
func isGGUF(path string) bool {
	if filepath.Ext(path) == ".gguf" {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [4]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:]) == "GGUF"
}

// folder looks for an adapter first: its folder may hold a tokenizer and a template, too, as a model's does.
func (r *inspection) folder(dir string) error {
	if text, err := os.ReadFile(filepath.Join(dir, adapter.ConfigName)); err == nil {
		r.Kind = "adapter"
		if err := r.config(text, "peft_type", "base_model_name_or_path", "r", "lora_alpha", "target_modules", "modules_to_save", "num_virtual_tokens"); err != nil {
			return fmt.Errorf("read %s: %w", filepath.Join(dir, adapter.ConfigName), err)
		}
		path, err := adapter.WeightsFile(dir)
		if err != nil {
			return err
		}
		return r.safetensors(path)
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the configuration: %w", err)
	}
	for _, name := range []string{recipe.ModelName, recipe.AdapterName} {
		if inner := filepath.Join(dir, name); err != nil && isFolder(inner) {
			return fmt.Errorf("%s is the folder of a run; inspect %s", dir, inner)
		}
	}
	if err != nil {
		return errors.New(dir + " is neither a model nor an adapter: it has no config.json and no adapter_config.json")
	}
	r.Kind = "model"
	if err := r.config(text, "model_type", "vocab_size", "hidden_size", "n_embd", "intermediate_size", "n_inner", "num_hidden_layers", "n_layer",
		"num_attention_heads", "n_head", "num_key_value_heads", "head_dim", "max_position_embeddings", "n_positions", "rope_theta", "rope_scaling", "rope_parameters",
		"sliding_window", "num_local_experts", "tie_word_embeddings", "torch_dtype", "dtype"); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(dir, "config.json"), err)
	}
	return r.safetensors(dir)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// config takes the keys of a JSON file that are there.
func (r *inspection) config(text []byte, keys ...string) error {
	c := map[string]any{}
	err := json.Unmarshal(text, &c)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return errors.New("this is no JSON object of keys and values")
	}
	if err != nil {
		return fmt.Errorf("this is no JSON, or cut short: %w", err)
	}
	for _, k := range keys {
		if v := c[k]; v != nil {
			r.say(k, v)
		}
	}
	return nil
}

func (r *inspection) say(key string, v any) {
	r.About[key] = v
	r.order = append(r.order, key)
}

func (r *inspection) safetensors(path string) error {
	a, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer a.Close()
	for _, k := range slices.Sorted(maps.Keys(a.Metadata())) {
		r.say(k, a.Metadata()[k])
	}
	for _, name := range a.Names() {
		t, _ := a.Tensor(name)
		r.add(tensorLine{name, t.DType.String(), t.Shape, int64(t.Info.Bytes())}, t.Elements())
	}
	return nil
}

func (r *inspection) gguf(path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r.Kind = "gguf"
	r.say("gguf.version", f.Version)
	for _, p := range f.Metadata {
		r.say(p.Key, brief(p.Value))
	}
	for _, t := range f.Tensors {
		r.add(tensorLine{t.Name, t.Type.String(), t.Shape, int64(t.Info.Bytes())}, t.Elements())
	}
	return nil
}

// brief shortens lists, which may hold whole vocabularies.
func brief(v any) any {
	switch v := v.(type) {
	case []string:
		return shorten(v)
	case []int32:
		return shorten(v)
	case []float32:
		return shorten(v)
	}
	return v
}

func shorten[T any](list []T) any {
	if len(list) <= 8 {
		return list
	}
	return fmt.Sprintf("%d of %T", len(list), list[0])
}

// add counts a tensor, and what it will take on a device in f32 and in bf16.
func (r *inspection) add(t tensorLine, elements int) {
	r.Tensors = append(r.Tensors, t)
	r.Parameters += elements
	r.Bytes += t.Bytes
	r.Types[t.Type] += elements
	r.LoadF32 += 4 * int64(elements)
	r.LoadBF16 += 4 * int64(elements)
	// As recipes load a model in bf16: matrices are rounded, norms and biases are not.
	if len(t.Shape) > 1 {
		r.LoadBF16 -= 2 * int64(elements)
	}
}

func (r *inspection) print(w io.Writer) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, k := range r.order {
		text := fmt.Sprint(r.About[k])
		switch r.About[k].(type) {
		case map[string]any, []any: // as config.json has them
			if inner, err := json.Marshal(r.About[k]); err == nil {
				text = string(inner)
			}
		}
		text = strings.ReplaceAll(cli.Shown(text), "\n", `\n`)
		if runes := []rune(text); len(runes) > 100 {
			text = string(runes[:97]) + "..."
		}
		fmt.Fprintf(tab, "%s\t%s\n", cli.Shown(k), text)
	}
	tab.Flush()
	fmt.Fprintln(w)
	tab = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "tensor\ttype\tshape\tbytes")
	for _, t := range r.Tensors {
		fmt.Fprintf(tab, "%s\t%s\t%v\t%d\n", cli.Shown(t.Name), t.Type, t.Shape, t.Bytes)
	}
	tab.Flush()
	fmt.Fprintln(w)
	tab = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "tensors\t%d\nparameters\t%d\nbytes\t%d (%.1f MB)\n", len(r.Tensors), r.Parameters, r.Bytes, float64(r.Bytes)/1e6)
	for _, t := range slices.Sorted(maps.Keys(r.Types)) {
		fmt.Fprintf(tab, "  %s\t%d parameters\n", t, r.Types[t])
	}
	fmt.Fprintf(tab, "memory as f32\t%.1f MB\nmemory as bf16\t%.1f MB\n", float64(r.LoadF32)/1e6, float64(r.LoadBF16)/1e6)
	tab.Flush()
}
