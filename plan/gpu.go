package plan

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"hone/internal/spell"
)

// GPU is what a plan needs to know of one.
type GPU struct {
	Name      string  `json:"name"`
	TFLOPS    float64 `json:"peak_tflops"` // dense products of bf16 (f16 before Ampere) with sums in f32, no sparsity
	MemoryGB  float64 `json:"memory_gb"`   // 2^30 bytes
	Bandwidth float64 `json:"bandwidth_gb_s"`
	Watts     float64 `json:"watts"`                   // board power limit
	MFU       float64 `json:"default_mfu"`             // the share of TFLOPS that a run on up to FewGPUs is assumed to reach
	MFUMany   float64 `json:"default_mfu_of_clusters"` // and on more
}

// FewGPUs is up to how many the share of the peak hardly depends on their number, in the tables of llm-foundry.
const FewGPUs = 128

// Utilisation is the share of the peak that a run on n of them is assumed to reach.
func (g GPU) Utilisation(n int) float64 {
	if n > FewGPUs {
		return g.MFUMany
	}
	return g.MFU
}

// The default shares of the peak (model FLOPs utilisation). Each is one number for a generation, so that single runs miss
// it; docs/plan.md has by how much. Up to 128 GPUs they are medians of what llm-foundry measured (MosaicML, scripts/train/benchmarking, models of 1B
// to 30B, sequences of 512 to 4096: 55 % of an A100, 41.8 % of an H100), less 4 % because it counts all pairs of attention and hone
// those that a token sees. More GPUs train for months, and published hours hold restarts and waiting for the network.
const (
	// mfuVolta is 28 of 125 TFLOP/s, which the well-known estimate of GPT-3's cost assumes (Lambda, 2020).
	mfuVolta                 = 0.224
	mfuAmpere, mfuAmpereMany = 0.53, 0.48  // Llama 2 reached 40 to 45 %
	mfuHopper, mfuHopperMany = 0.402, 0.35 // Llama 3 70B reached 30 %, 405B 36 %
	// mfuOther is assumed of GPUs for which no large published run is known.
	mfuOther = 0.35
)

// gpus are from NVIDIA's data sheets and architecture white papers: V100, T4, A100, A10, L4, L40S, H100, H200 data sheets,
// GA102 and AD102 white papers (dense f16 with f32 sums), Blackwell architecture brief. Half of a number "with sparsity".
var gpus = []GPU{
	{"v100-16gb", 125, 16, 900, 300, mfuVolta, mfuVolta}, // SXM2
	{"v100", 125, 32, 900, 300, mfuVolta, mfuVolta},      // SXM2 32 GB
	{"t4", 65, 16, 320, 70, mfuVolta, mfuVolta},
	{"a100-40gb", 312, 40, 1555, 400, mfuAmpere, mfuAmpereMany},
	{"a100", 312, 80, 2039, 400, mfuAmpere, mfuAmpereMany}, // SXM4 80 GB
	{"a10g", 70, 24, 600, 300, mfuOther, mfuOther},         // AWS's: less than A10's 125
	{"a10", 125, 24, 600, 150, mfuOther, mfuOther},
	{"a6000", 154.8, 48, 768, 300, mfuOther, mfuOther},
	{"l4", 121, 24, 300, 72, mfuOther, mfuOther},
	{"l40s", 362, 48, 864, 350, mfuOther, mfuOther},
	{"rtx3090", 71, 24, 936, 350, mfuOther, mfuOther},
	{"rtx4090", 165.2, 24, 1008, 450, mfuOther, mfuOther},
	{"rtx6000-ada", 364, 48, 960, 300, mfuOther, mfuOther},
	{"h100-pcie", 756, 80, 2000, 350, mfuHopper, mfuHopperMany},
	{"h100", 989.4, 80, 3350, 700, mfuHopper, mfuHopperMany}, // SXM5
	{"h200", 989.4, 141, 4800, 700, mfuHopper, mfuHopperMany},
	{"b200", 2250, 180, 8000, 1000, mfuHopper, mfuHopperMany},
}

var gpuAliases = map[string]string{"v100-32gb": "v100", "a100-80gb": "a100", "h100-sxm": "h100", "3090": "rtx3090", "4090": "rtx4090"}

// GPUOf returns the GPU that a driver calls by a name such as NVIDIA H100 80GB HBM3; ok is false for one that is not known. Whole words count:
// an L40 is no L4, and a GT 430 no T4.
func GPUOf(card string) (g GPU, ok bool) {
	words := strings.FieldsFunc(strings.ToLower(card), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for _, one := range gpus {
		if len(one.Name) > len(g.Name) && spelled(words, strings.ReplaceAll(one.Name, "-", "")) {
			g = one
		}
	}
	return g, g.Name != ""
}

// spelled says whether neighbouring words, put together, are name, as RTX and 4090 are rtx4090.
func spelled(words []string, name string) bool {
	for i := range words {
		rest, begins := name, false
		for _, word := range words[i:] {
			if rest, begins = strings.CutPrefix(rest, word); !begins {
				break
			}
			if rest == "" {
				return true
			}
		}
	}
	return false
}

// FindGPU returns the GPU of a name such as h100, with case and spaces ignored.
func FindGPU(name string) (GPU, error) {
	key := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "")
	if other, ok := gpuAliases[key]; ok {
		key = other
	}
	var names []string
	for _, g := range gpus {
		if g.Name == key {
			return g, nil
		}
		names = append(names, g.Name)
	}
	return GPU{}, fmt.Errorf("gpu %q is not known, the nearest is %s; known are %s", name, Nearest(names, key), strings.Join(names, ", "))
}

// Nearest is the name that is spelled most like what was given.
func Nearest(names []string, given string) string {
	return slices.MinFunc(names, func(a, b string) int { return spell.Distance(a, given) - spell.Distance(b, given) })
}
