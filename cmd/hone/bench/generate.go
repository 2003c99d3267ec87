package bench

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/device"
	"hone/device/cpu"
	"hone/device/cpu/peak"
	"hone/device/cuda"
	"hone/generate"
	"hone/internal/clock"
	"hone/model"
	"hone/nn"
	"hone/plan"
	"hone/plan/meter"
	"hone/tensor"
)

// generations are the workloads of bench generate: a model, that of a workload of training, and sequences that run side by side.
var generations = map[string]struct {
	model string
	batch int
}{"W4_gen_b1": {"W3_smollm135m_full", 1}, "W4_gen_b16": {"W3_smollm135m_full", 16}, "llama8b_b1": {"llama8b_lora", 1}, "llama8b_b256": {"llama8b_lora", 256}}

// The lengths of a generation, in tokens.
const (
	promptTokens = 64
	newTokens    = 128
)

// generateResult is the result of hone bench generate.
type generateResult struct {
	Workload         string  `json:"workload"`
	Device           string  `json:"device"`
	DType            string  `json:"dtype"`
	Threads          int     `json:"threads"`
	TokensPerS       float64 `json:"tokens_per_s"` // new tokens of all sequences, prompt time included
	PromptS          float64 `json:"prompt_s"`     // to the first token
	DecodeS          float64 `json:"decode_s"`     // the rest
	WeightsMB        float64 `json:"weights_mb"`   // read for each new token of a batch
	BandwidthGBS     float64 `json:"bandwidth_gb_s"`
	ShareOfBandwidth float64 `json:"share_of_bandwidth"` // weights moved in DecodeS against the best bandwidth measured just before and after
	PeakRSSMB        float64 `json:"peak_rss_mb"`        // on a processor with the arrays that peak.ReadBandwidth reads
	PeakDeviceMB     float64 `json:"peak_device_mb"`     // of the tensors alone, while tokens are written
	PlannedMB        float64 `json:"planned_mb"`         // what the plan says of them
	PlannedS         float64 `json:"planned_s"`          // what it says of the whole, at the rates of this machine; 0 of a GPU, whose rates it does not know

	Graphs int `json:"graphs,omitempty"` // CUDA graphs that passes became, of all runs

	Kernels []cuda.KernelTime `json:"kernels,omitempty"` // of the last run, where --kernels asks for them

	kernels bool
	runs    int
	writes  plan.Rates // of few rows, as measured in the run that counts
}

// generateCommand times writing of tokens, whose bound is reading all weights once for each.
func generateCommand(a *cli.App) *cobra.Command {
	r := generateResult{runs: 3}
	cmd := &cobra.Command{
		Use: "generate", Short: "Time generation: 64 prompt tokens, 128 new ones, greedily, random weights", Example: "  hone bench generate --workload W4_gen_b1 --dtype bf16 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.run(cmd.Context()); err != nil {
				return err
			}
			return a.Result(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s, %s: %.1f tokens/s (prompt %.3f s, then %.1f s, planned %.1f), %.1f GB/s of weights = %.0f%% of %.1f GB/s, %.0f MB, %.0f MB of them tensors (planned: %.0f)\n",
					r.Workload, r.DType, r.Device, r.TokensPerS, r.PromptS, r.DecodeS, r.PlannedS, r.ShareOfBandwidth*r.BandwidthGBS, 100*r.ShareOfBandwidth, r.BandwidthGBS, r.PeakRSSMB,
					r.PeakDeviceMB, r.PlannedMB)
				printKernels(w, r.Kernels)
			})
		},
	}
	cmd.Flags().StringVar(&r.Workload, "workload", "W4_gen_b1", "one of "+strings.Join(slices.Sorted(maps.Keys(generations)), ", "))
	cmd.Flags().StringVar(&r.Device, "device", "cpu", "where to compute: cpu, cuda or cuda:N")
	cmd.Flags().StringVar(&r.DType, "dtype", "f32", "f32 or bf16")
	cmd.Flags().IntVar(&r.Threads, "threads", runtime.GOMAXPROCS(0), "cores to use")
	cmd.Flags().BoolVar(&r.kernels, "kernels", false, "show how long a card took for each kernel of the last run, which slows it")
	cmd.Flags().IntVar(&r.runs, "runs", r.runs, "runs, of which the best counts")
	return cmd
}

func (r *generateResult) run(ctx context.Context) error {
	g, ok := generations[r.Workload]
	if !ok {
		return fmt.Errorf("workload %q is unknown; use one of %s", r.Workload, strings.Join(slices.Sorted(maps.Keys(generations)), ", "))
	}
	batch := g.batch
	if r.runs < 1 || r.Threads < 1 {
		return fmt.Errorf("runs is %d and threads %d; both must be at least 1", r.runs, r.Threads)
	}
	dtype, err := device.ParseDType(r.DType)
	if err != nil {
		return err
	}
	dev, done, err := machine.OpenTimed(r.Device, r.Threads, r.kernels)
	if err != nil {
		return err
	}
	defer done()
	r.Device = dev.Name()
	m, err := workloads[g.model].model(dev, dtype)
	if err != nil {
		return err
	}
	defer m.Free()
	if err := tensor.Try(func() { nn.Arrange(m.Model) }); err != nil {
		return err
	}
	dev.ResetPeak() // making a model holds more than one that is loaded does
	between := &halting{Model: m}
	engine, prompts := generate.New(dev, dtype, between, nil), randomPrompts(batch, m.Shape().Vocab)
	timed := func(tokens int) (float64, error) {
		if _, err := kernelTimes(dev); err != nil { // only the last run counts
			return 0, err
		}
		opt := generate.DefaultOptions()
		opt.MaxNewTokens, opt.Temperature, opt.BatchSize = tokens, 0, batch
		begin := clock.Now()
		between.took = 0
		_, err := engine.Run(ctx, prompts, opt, nil)
		return (clock.Since(begin) - between.took).Seconds(), err
	}
	if _, err := timed(2); err != nil { // memory is touched and pools have grown after it
		return err
	}
	if err := r.best(dev, dtype, between, timed); err != nil {
		return err
	}
	if r.Kernels, err = kernelTimes(dev); err != nil {
		return err
	}
	card, onCard := dev.(*cuda.Device)
	if onCard {
		r.Graphs = card.Graphs()
	}
	if gpu, ok := plan.GPUOf(r.Device); ok && onCard { // as its data sheet says
		r.BandwidthGBS = gpu.Bandwidth
	}
	r.WeightsMB = readMB(m)
	r.TokensPerS = float64(batch*newTokens) / (r.PromptS + r.DecodeS)
	r.ShareOfBandwidth = r.WeightsMB / 1e3 * (newTokens - 1) / r.DecodeS / r.BandwidthGBS
	r.PeakRSSMB, r.PeakDeviceMB = peakRSS(), float64(dev.Memory().Peak)/1e6
	return r.plan(ctx, m.Config, prompts, dtype, onCard)
}

// readMB is the weights that a token reads, all of them but the table of an embedding that is no head, of which it reads a row.
func readMB(m *model.Model) (mb float64) {
	for _, p := range m.Params {
		if len(p.Shape) == 2 && p.Shape[0] == m.Shape().Vocab && p.Tensor != m.Head().Weight {
			continue
		}
		mb += float64(p.Len()*p.DType().Size()) / 1e6
	}
	return mb
}

// plan sets what the plan says of the same.
func (r *generateResult) plan(ctx context.Context, config []byte, prompts [][]int32, dtype device.DType, onCard bool) error {
	peakBytes, work, err := planned(ctx, config, prompts, dtype, onCard)
	if err != nil {
		return err
	}
	r.PlannedMB = float64(peakBytes) / 1e6
	if onCard {
		return nil
	}
	rates, err := meter.NewPeak(r.Threads, r.DType).Meter(r.writes)(work)
	rates.ReadGBs = r.BandwidthGBS
	r.PlannedS = work.Time(rates).Seconds()
	return err
}

// planned is what the plan says of writing newTokens tokens to each prompt: the most bytes that tensors hold, and the work.
func planned(ctx context.Context, config []byte, prompts [][]int32, dtype device.DType, onCard bool) (peakBytes int64, work plan.Work, err error) {
	dev := plan.NewDevice()
	dev.OnCard, dev.Arranged = onCard, cpu.ArrangedLen
	m, err := model.Declare(config, dev)
	if err != nil {
		return 0, work, err
	}
	m.Alloc(dtype, model.Packed{})
	if err := tensor.Try(func() { nn.Arrange(m.Model) }); err != nil {
		return 0, work, err
	}
	dev.ResetPeak()
	before := dev.Work()
	opt := generate.DefaultOptions()
	opt.MaxNewTokens, opt.Temperature, opt.BatchSize = newTokens, 0, len(prompts)
	if _, err := generate.New(dev, dtype, m, nil).Run(ctx, prompts, opt, nil); err != nil {
		return 0, work, err
	}
	work = dev.Work()
	work.Add(before, -1)
	return dev.Memory().Peak, work, nil
}

// best takes the fastest prompt and the fastest whole run, with the memory's bandwidth just before and after that run and, on a processor, how
// fast tokens of other models were written in between.
func (r *generateResult) best(dev device.Device, dtype device.DType, between *halting, timed func(tokens int) (float64, error)) error {
	bandwidth := func() float64 { return 0 }
	var decoding *meter.Decoding
	if _, ok := dev.(*cpu.Device); ok {
		beside := cpu.New(cpu.Options{Threads: r.Threads})
		defer beside.Close()
		var err error
		if decoding, err = meter.NewDecoding(beside, dtype); err != nil {
			return err
		}
		defer decoding.Free()
		bandwidth = func() float64 { return peak.ReadBandwidth(r.Threads) }
	}
	whole := 0.0
	// The prompt alone and the whole run take turns, so that both meet the same machine.
	for i := range r.runs {
		prompt, err := timed(1)
		if err != nil {
			return err
		}
		if i == 0 || prompt < r.PromptS {
			r.PromptS = prompt
		}
		before := bandwidth()
		if decoding != nil {
			decoding.Forget()
			between.do = decoding.Sample
		}
		all, err := timed(newTokens)
		between.do = nil
		if err != nil {
			return err
		}
		after := bandwidth()
		if i == 0 || all < whole {
			whole, r.BandwidthGBS = all, max(before, after)
			if decoding != nil {
				r.writes = decoding.Rates(dtype)
			}
		}
	}
	r.DecodeS = whole - r.PromptS
	if decoding != nil {
		return decoding.Err()
	}
	return nil
}

// halting is a model that lets something be done every few tokens, and knows how long that took.
type halting struct {
	*model.Model
	do   func() // nil: nothing
	took time.Duration
	ran  int
}

// haltEvery is after how many tokens: the level of a shared machine's memory lasts for some tenths of a second, and longer.
const haltEvery = 16

// Hidden is that of the model.
func (h *halting) Hidden(in nn.Input) *tensor.Tensor {
	if h.ran++; h.do != nil && h.ran%haltEvery == 0 {
		begin := clock.Now()
		h.do()
		h.took += clock.Since(begin)
	}
	return h.Model.Hidden(in)
}

// randomPrompts are the same in every run; tokens alike would make attention and experts easier than they are.
func randomPrompts(batch, vocab int) [][]int32 {
	random := rand.New(rand.NewPCG(1, 2))
	prompts := make([][]int32, batch)
	for i := range prompts {
		for range promptTokens {
			prompts[i] = append(prompts[i], int32(random.IntN(vocab)))
		}
	}
	return prompts
}
