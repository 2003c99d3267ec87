package machine

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/device"
	"hone/device/cpu"
	"hone/device/cpu/peak"
	"hone/device/cuda"
	"hone/internal/cpuid"
	"hone/internal/gosource"
	"hone/plan"
	"hone/plan/meter"
)

// diagnosis is the result of hone doctor.
type diagnosis struct {
	System       string         `json:"system"`
	Cores        int            `json:"cores"`
	Device       string         `json:"device"`
	Kernels      string         `json:"kernels"`      // the widest instruction set that is used
	Instructions []string       `json:"instructions"` // that the processor and the system support
	Caches       map[string]int `json:"caches"`       // bytes; without those that are not known
	Memory       int64          `json:"memory_bytes"` // with swap; 0 where it is not known
	F32          float64        `json:"f32_gflops"`
	BF16         float64        `json:"bf16_gflops"`      // 0 where products of bf16 are widened to f32
	Dots         float64        `json:"bf16_dots_gflops"` // of the instruction for them, used or not; 0 without it
	ReadGBs      float64        `json:"read_gb_per_s"`
	CopyGBs      float64        `json:"copy_gb_per_s"`
	UpdateGBs    float64        `json:"update_gb_per_s"`
	FewF32       plan.FewRows   `json:"few_rows_f32"` // of products of few rows, as writing tokens has them
	FewBF16      plan.FewRows   `json:"few_rows_bf16"`
	CallUS       float64        `json:"call_us"`      // of a kernel beside its work
	NF4GBs       float64        `json:"nf4_gb_per_s"` // of unpacking to f32, read and written
	Corpus       string         `json:"corpus"`       // where the quickstart's text is
	CUDA         cuda.Report    `json:"cuda"`
}

// Doctor is hone doctor, which measures the machine for some seconds. What is missing is told with the remedy and is no error: a machine without a card is sound.
func Doctor(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Say what this machine has and which kernels are used", Example: "  hone doctor --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Measuring cannot be stopped half way, and leaves nothing.
			d, err := cli.Promptly(cmd.Context(), func() (*diagnosis, error) { return diagnose(cmd.Context()) })
			if err != nil {
				return err
			}
			return a.Result(d, d.text)
		},
	}
}

// diagnose measures the machine and looks for what there is.
func diagnose(ctx context.Context) (*diagnosis, error) {
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	host, p := cpuid.Host(), peak.Measure(0)
	writes, err := writingRates(dev)
	if err != nil {
		return nil, err
	}
	// What further texts take may be less than what times differ by, but they are not computed faster than whole products.
	writes.FewF32.GFLOPS, writes.FewBF16.GFLOPS = min(writes.FewF32.GFLOPS, p.F32), min(writes.FewBF16.GFLOPS, max(p.BF16, p.F32))
	d := &diagnosis{System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.GOMAXPROCS(0), Device: dev.Name(), Kernels: host.Best(),
		Instructions: instructions(host), Caches: caches(host), Memory: Memory(dev),
		F32: p.F32, BF16: p.BF16, Dots: p.Dots, ReadGBs: p.ReadGBs, CopyGBs: p.CopyGBs, UpdateGBs: p.UpdateGBs,
		FewF32: writes.FewF32, FewBF16: writes.FewBF16, CallUS: writes.CallUS, NF4GBs: writes.NF4GBs, CUDA: cuda.Inspect(cudaOptions())}
	if src, err := gosource.Folder(ctx); err == nil {
		d.Corpus = src
	}
	return d, nil
}

// writingRates are those of the kernels that no share of the peak tells of.
func writingRates(dev *cpu.Device) (r plan.Rates, err error) {
	var calls [2]float64
	if r.FewF32, calls[0], err = meter.MeasureDecoding(dev, device.F32); err != nil {
		return r, err
	}
	if r.FewBF16, calls[1], err = meter.MeasureDecoding(dev, device.BF16); err != nil {
		return r, err
	}
	r.CallUS, r.NF4GBs = (calls[0]+calls[1])/2, meter.MeasureUnpacking(dev, device.NF4, device.F32)
	return r, nil
}

// instructions names the sets that a processor has.
func instructions(f cpuid.Features) []string {
	var names []string
	for _, s := range []struct {
		has  bool
		name string
	}{{f.AVX2, "avx2"}, {f.FMA, "fma"}, {f.F16C, "f16c"}, {f.AVX512F, "avx512f"}, {f.AVX512BW, "avx512bw"}, {f.AVX512DQ, "avx512dq"},
		{f.AVX512VL, "avx512vl"}, {f.AVX512BF16, "avx512bf16"}, {f.NEON, "neon"}} {
		if s.has {
			names = append(names, s.name)
		}
	}
	return names
}

// caches leaves out what the system does not tell, so that 0 is never read as a size.
func caches(f cpuid.Features) map[string]int {
	sizes := map[string]int{}
	for name, n := range map[string]int{"l1d": f.L1D, "l2": f.L2, "l3": f.L3} {
		if n > 0 {
			sizes[name] = n
		}
	}
	return sizes
}

func (d *diagnosis) text(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "system\t%s, %d cores\n", d.System, d.Cores)
	fmt.Fprintf(w, "device\t%s\n", d.Device)
	if len(d.Instructions) > 0 {
		fmt.Fprintf(w, "kernels\t%s; the processor has %s\n", d.Kernels, strings.Join(d.Instructions, " "))
	} else {
		fmt.Fprintf(w, "kernels\t%s: plain Go, which is slow; this build has no assembly for the processor\n", d.Kernels)
	}
	if d.Memory > 0 {
		fmt.Fprintf(w, "memory\t%s with swap\n", cli.BytesText(d.Memory))
	}
	for _, name := range []string{"l1d", "l2", "l3"} {
		if n := d.Caches[name]; n > 0 {
			fmt.Fprintf(w, "%s cache\t%s\n", name, cli.BytesText(int64(n)))
		}
	}
	fmt.Fprintf(w, "f32\tmatrix products at %.0f GFLOP/s\n", d.F32)
	switch {
	case d.BF16 > 0:
		fmt.Fprintf(w, "bf16\tmatrix products at %.0f GFLOP/s\n", d.BF16)
	case d.Dots > 0:
		fmt.Fprintf(w, "bf16\twidened to f32, since this processor's own instruction (VDPBF16PS) is slower: %.0f GFLOP/s\n", d.Dots)
	default:
		fmt.Fprintln(w, "bf16\twidened to f32, since this processor has no instruction for it")
	}
	fmt.Fprintf(w, "bandwidth\tread %.0f GB/s, copy %.0f GB/s, update %.0f GB/s\n", d.ReadGBs, d.CopyGBs, d.UpdateGBs)
	for _, few := range []struct {
		name string
		plan.FewRows
	}{{"f32", d.FewF32}, {"bf16", d.FewBF16}} {
		fmt.Fprintf(w, "writing text\t%s weights are read at %.0f GB/s, each further text computes at %.0f GFLOP/s\n", few.name, few.GBs, few.GFLOPS)
	}
	fmt.Fprintf(w, "a kernel's call\t%.1f µs beside its work\n", d.CallUS)
	fmt.Fprintf(w, "4-bit weights\tunpacked (NF4) at %.1f GB/s\n", d.NF4GBs)
	if d.Corpus != "" {
		fmt.Fprintf(w, "quickstart\ttrains on %s\n", d.Corpus)
	} else {
		fmt.Fprintln(w, "quickstart\tno source of Go here to train on; give it data=PATH")
	}
	d.cudaText(w)
	w.Flush()
}

// cudaText says which cards can be used, and what is missing for them.
func (d *diagnosis) cudaText(w io.Writer) {
	for _, line := range [][2]string{{"driver", d.CUDA.Driver}, {"nvrtc", d.CUDA.Compiler}, {"cublaslt", d.CUDA.Products}} {
		if line[1] != "" {
			fmt.Fprintf(w, "cuda\t%s %s\n", line[0], line[1])
		}
	}
	for _, card := range d.CUDA.Cards {
		fmt.Fprintf(w, "cuda\t%s\n", card)
	}
	for _, what := range d.CUDA.Missing {
		fmt.Fprintf(w, "cuda\tmissing: %s\n", what)
	}
}
