package cluster

import (
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"hone/model"
	"hone/plan"
)

// shapes are the config.json texts of models that are known by name, as far as a plan needs them: of the folders on the
// hub, and of Brown et al. (2020), table 2.1, for GPT-3.
var shapes = map[string]string{
	"gpt2-124m": gpt2Shape(768, 12, 12, 1024), "gpt2-355m": gpt2Shape(1024, 24, 16, 1024),
	"gpt2-774m": gpt2Shape(1280, 36, 20, 1024), "gpt2-1.5b": gpt2Shape(1600, 48, 25, 1024),
	"gpt3-6.7b": gpt2Shape(4096, 32, 32, 2048), "gpt3-13b": gpt2Shape(5120, 40, 40, 2048),
	"gpt3-175b": gpt2Shape(12288, 96, 96, 2048),

	"llama-7b":     decoder{"llama", 32000, 4096, 11008, 32, 32, 32, 2048, ""}.config(),
	"llama-13b":    decoder{"llama", 32000, 5120, 13824, 40, 40, 40, 2048, ""}.config(),
	"llama-30b":    decoder{"llama", 32000, 6656, 17920, 60, 52, 52, 2048, ""}.config(),
	"llama-65b":    decoder{"llama", 32000, 8192, 22016, 80, 64, 64, 2048, ""}.config(),
	"llama-2-7b":   decoder{"llama", 32000, 4096, 11008, 32, 32, 32, 4096, ""}.config(),
	"llama-2-13b":  decoder{"llama", 32000, 5120, 13824, 40, 40, 40, 4096, ""}.config(),
	"llama-2-70b":  decoder{"llama", 32000, 8192, 28672, 80, 64, 8, 4096, ""}.config(),
	"llama-3-8b":   decoder{"llama", 128256, 4096, 14336, 32, 32, 8, 8192, ""}.config(),
	"llama-3-70b":  decoder{"llama", 128256, 8192, 28672, 80, 64, 8, 8192, ""}.config(),
	"llama-3-405b": decoder{"llama", 128256, 16384, 53248, 126, 128, 8, 131072, ""}.config(),
	"mistral-7b":   decoder{"mistral", 32000, 4096, 14336, 32, 32, 8, 32768, `,"sliding_window":4096`}.config(),
	"mixtral-8x7b": decoder{"mixtral", 32000, 4096, 14336, 32, 32, 8, 32768, `,"num_local_experts":8,"num_experts_per_tok":2`}.config(),
	"phi-2": `{"model_type":"phi","vocab_size":51200,"hidden_size":2560,"intermediate_size":10240,"num_hidden_layers":32,
"num_attention_heads":32,"max_position_embeddings":2048,"partial_rotary_factor":0.4,"hidden_act":"gelu_new"}`,

	"qwen2.5-0.5b": decoder{"qwen2", 151936, 896, 4864, 24, 14, 2, 32768, tied}.config(),
	"qwen2.5-1.5b": decoder{"qwen2", 151936, 1536, 8960, 28, 12, 2, 32768, tied}.config(),
	"qwen2.5-3b":   decoder{"qwen2", 151936, 2048, 11008, 36, 16, 2, 32768, tied}.config(),
	"qwen2.5-7b":   decoder{"qwen2", 152064, 3584, 18944, 28, 28, 4, 32768, ""}.config(),
	"qwen2.5-14b":  decoder{"qwen2", 152064, 5120, 13824, 48, 40, 8, 32768, ""}.config(),
	"qwen2.5-32b":  decoder{"qwen2", 152064, 5120, 27648, 64, 40, 8, 32768, ""}.config(),
	"qwen2.5-72b":  decoder{"qwen2", 152064, 8192, 29568, 80, 64, 8, 32768, ""}.config(),
}

// tied says that the head shares the embedding table.
const tied = `,"tie_word_embeddings":true`

func gpt2Shape(c, layers, heads, t int) string {
	return fmt.Sprintf(`{"model_type":"gpt2","vocab_size":50257,"n_embd":%d,"n_layer":%d,"n_head":%d,"n_positions":%d}`, c, layers, heads, t)
}

// decoder is the shape of a model whose config.json has Llama's keys.
type decoder struct {
	kind                 string
	vocab, hidden, inner int // inner: width within a block's MLP
	layers, heads, kv    int // kv: heads of keys and values
	positions            int
	more                 string // further keys, each with a comma before it
}

func (d decoder) config() string {
	return fmt.Sprintf(`{"model_type":"%s","vocab_size":%d,"hidden_size":%d,"intermediate_size":%d,"num_hidden_layers":%d,`+
		`"num_attention_heads":%d,"num_key_value_heads":%d,"max_position_embeddings":%d%s}`,
		d.kind, d.vocab, d.hidden, d.inner, d.layers, d.heads, d.kv, d.positions, d.more)
}

// Shapes lists the names of the models that a plan knows.
func Shapes() []string { return slices.Sorted(maps.Keys(shapes)) }

// shapeOf is the config.json of a model: a folder or file of one, a name among Shapes, or a size such as 7B, which has at
// least that many positions, as no model is meant that has fewer.
func shapeOf(name string, positions int) ([]byte, error) {
	if name == "" {
		return nil, fmt.Errorf("model is not set; give a folder with a config.json, a size such as 7B, or one of %s", strings.Join(Shapes(), ", "))
	}
	if text, ok := shapes[strings.ToLower(name)]; ok {
		return []byte(text), nil
	}
	if info, err := os.Stat(name); err == nil {
		if info.IsDir() {
			return model.ReadConfig(name)
		}
		return readConfigFile(name)
	}
	if n, err := parseCount(name); err == nil {
		return sizedShape(n, positions)
	}
	return nil, fmt.Errorf("model %q is no folder, no size such as 7B and no known name, of which the nearest is %s; known are %s",
		name, plan.Nearest(Shapes(), strings.ToLower(name)), strings.Join(Shapes(), ", "))
}

// readConfigFile reads a config.json by whatever name.
func readConfigFile(path string) ([]byte, error) {
	const most = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("it is larger than any config.json")
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w; name a config.json or a folder with one", path, err)
	}
	return text, nil
}

// sizedShape is a Llama of about n parameters with the proportions of GPT-3 and Llama: hidden size 128 times the layers.
// Below a billion the head shares the embedding table.
func sizedShape(n float64, positions int) ([]byte, error) {
	if !(n >= 50e6 && n <= 20e12) {
		return nil, fmt.Errorf("a model of %.3g parameters cannot be planned by its size; use 50M to 20T, or a config.json", n)
	}
	const v, ratio = 32000, 128
	d := decoder{kind: "llama", vocab: v, positions: max(4096, positions)}
	tables := 2.0
	if n < 1e9 {
		tables, d.more = 1, tied
	}
	// A layer of C channels has about 12·C² parameters and there are C/ratio of them: n = 12·C³/ratio. Rounded to heads of 128 channels.
	c := math.Max(1, math.Round(math.Cbrt(n*ratio/12)/ratio)) * ratio
	layers := math.Max(1, math.Round((n-tables*v*c)/(12*c*c)))
	// The feed-forward takes what is left of n after tables and attention (4·C² a layer), so that the size is met within a few per cent.
	f := math.Max(8, math.Round((n-tables*v*c-4*layers*c*c)/(3*layers*c)/8)*8)
	d.hidden, d.inner, d.layers = int(c), int(f), int(layers)
	d.heads = d.hidden / ratio
	d.kv = d.heads
	return []byte(d.config()), nil
}

// parseCount reads a number such as 300e9, 7B or 2T.
func parseCount(text string) (float64, error) {
	scale, digits := 1.0, strings.ToUpper(strings.TrimSpace(text))
	for i, unit := range []string{"K", "M", "B", "T"} {
		if number, ok := strings.CutSuffix(digits, unit); ok {
			digits, scale = number, math.Pow(1000, float64(i+1))
			break
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsNaN(n) || math.Abs(n*scale) > 1e18 {
		return 0, fmt.Errorf("%q is no number such as 300e9, 7B or 2T", text)
	}
	return n * scale, nil
}
