package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hone/adapter"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/device"
	"hone/device/cuda"
	"hone/internal/clock"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/plan"
	"hone/plan/meter"
	"hone/tensor"
)

// workload is a training step to time: a model and a batch of random tokens.
type workload struct {
	config   string
	batch, t int
	rank     int            // of a LoRA on all linear layers; 0: all weights are trained
	packing  device.Packing // of the frozen weights
	floor    bool           // nothing is trained but the first norm, which the gradient must reach: the least that any adapter costs
	again    int            // layers that are run again in the backward pass, at least
}

// Shapes of the models that a GPU is measured with: Llama 3.2 1B, Llama 3 8B and 70B.
const (
	llama1b = `{"model_type":"llama","hidden_size":2048,"num_hidden_layers":16,"num_attention_heads":32,"num_key_value_heads":8,
	"intermediate_size":8192,"vocab_size":128256,"tie_word_embeddings":true,"max_position_embeddings":8192,"rms_norm_eps":1e-5}`
	llama8b = `{"model_type":"llama","hidden_size":4096,"num_hidden_layers":32,"num_attention_heads":32,"num_key_value_heads":8,
	"intermediate_size":14336,"vocab_size":128256,"max_position_embeddings":8192,"rms_norm_eps":1e-5}`
	llama70b = `{"model_type":"llama","hidden_size":8192,"num_hidden_layers":80,"num_attention_heads":64,"num_key_value_heads":8,
	"intermediate_size":28672,"vocab_size":128256,"max_position_embeddings":8192,"rms_norm_eps":1e-5}`
)

// smollm is the shape of SmolLM-135M.
const smollm = `{"model_type":"llama","hidden_size":576,"num_hidden_layers":30,"num_attention_heads":9,"num_key_value_heads":3,
	"intermediate_size":1536,"vocab_size":49152,"tie_word_embeddings":true,"max_position_embeddings":2048,"rms_norm_eps":1e-5}`

// workloads by the names that docs/performance.md uses.
var workloads = map[string]workload{
	"W1_babygpt":            {config: `{"model_type":"gpt2","n_embd":384,"n_layer":6,"n_head":6,"vocab_size":65,"n_positions":256,"tie_word_embeddings":false}`, batch: 8, t: 256},
	"W2_gpt2_124m":          {config: `{"model_type":"gpt2","n_embd":768,"n_layer":12,"n_head":12,"vocab_size":50257,"n_positions":1024}`, batch: 4, t: 256},
	"gpt2_124m":             {config: `{"model_type":"gpt2","n_embd":768,"n_layer":12,"n_head":12,"vocab_size":50257,"n_positions":1024}`, batch: 64, t: 1024},
	"llama1b_full":          {config: llama1b, batch: 4, t: 4096},
	"llama8b_lora":          {config: llama8b, batch: 1, t: 4096, rank: 16},
	"llama70b_qlora":        {config: llama70b, batch: 1, t: 512, rank: 16, packing: device.NF4, again: 80},
	"W3_smollm135m_full":    {config: smollm, batch: 2, t: 512},
	"W3_smollm135m_frozen":  {config: smollm, batch: 2, t: 512, floor: true},
	"W3_smollm135m_lora16":  {config: smollm, batch: 2, t: 512, rank: 16},
	"W3_smollm135m_qlora16": {config: smollm, batch: 2, t: 512, rank: 16, packing: device.NF4},
}

// trainResult is the result of hone bench train.
type trainResult struct {
	Workload     string  `json:"workload"`
	Device       string  `json:"device"`
	DType        string  `json:"dtype"`
	Optimizer    string  `json:"optimizer"` // adamw or adamw8bit
	Recompute    int     `json:"recompute"` // layers that are run again in the backward pass
	Threads      int     `json:"threads"`
	Steps        int     `json:"steps"`
	SPerStep     float64 `json:"s_per_step"` // median
	Best         float64 `json:"best_s"`
	TokensPerS   float64 `json:"tokens_per_s"`
	GFLOPS       float64 `json:"gflops"`
	ShareOfPeak  float64 `json:"share_of_peak"` // of the f32 peak, or of the bf16 one where the machine has it
	PeakRSSMB    float64 `json:"peak_rss_mb"`
	PeakDeviceMB float64 `json:"peak_device_mb"` // of the tensors alone
	StepMB       float64 `json:"step_mb"`        // of these what a step holds beside weights and optimizer: activations, gradients, logits
	PlannedMB    float64 `json:"planned_mb"`     // what package plan says of them
	PlannedS     float64 `json:"planned_s"`      // what it says of a step's time at the rates of this machine, measured in the same run
	Loss         float64 `json:"loss"`           // of the last step

	Kernels []cuda.KernelTime `json:"kernels,omitempty"` // of the timed steps, where --kernels asks for them

	kernels                bool
	cpuProfile, memProfile string // files to write, empty for none
}

// trainCommand times steps on random tokens: what is learned of them does not matter to the time.
func trainCommand(a *cli.App) *cobra.Command {
	r := trainResult{}
	cmd := &cobra.Command{
		Use: "train", Short: "Time full training steps: forward, backward, clipping, AdamW", Example: "  hone bench train --workload W2_gpt2_124m --dtype f32 --steps 5 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.run(cmd.Context()); err != nil {
				return err
			}
			return a.Result(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s, %s: %.3f s per step (planned: %.3f), %.0f tokens/s, %.0f GFLOP/s (%.0f%% of peak), %.0f MB, %.0f MB of them tensors (planned: %.0f)\n",
					r.Workload, r.DType, r.Device, r.SPerStep, r.PlannedS, r.TokensPerS, r.GFLOPS, 100*r.ShareOfPeak, r.PeakRSSMB, r.PeakDeviceMB, r.PlannedMB)
				printKernels(w, r.Kernels)
			})
		},
	}
	cmd.Flags().StringVar(&r.Workload, "workload", "W1_babygpt", "one of "+workloadNames())
	cmd.Flags().StringVar(&r.Device, "device", "cpu", "where to compute: cpu, cuda or cuda:N")
	cmd.Flags().StringVar(&r.DType, "dtype", "f32", "f32 or bf16")
	cmd.Flags().StringVar(&r.Optimizer, "optimizer", "adamw", "adamw or adamw8bit")
	cmd.Flags().IntVar(&r.Recompute, "recompute", 0, "layers to run again in the backward pass instead of keeping what it needs")
	cmd.Flags().IntVar(&r.Threads, "threads", runtime.GOMAXPROCS(0), "cores to use")
	cmd.Flags().IntVar(&r.Steps, "steps", 5, "steps to time, after one to warm up")
	cmd.Flags().BoolVar(&r.kernels, "kernels", false, "show how long a card took for each kernel of the timed steps, which slows them")
	cmd.Flags().StringVar(&r.cpuProfile, "cpuprofile", "", "write a CPU profile of the timed steps to this file, for go tool pprof")
	cmd.Flags().StringVar(&r.memProfile, "memprofile", "", "write a profile of the Go heap after the last step to this file")
	return cmd
}

// asked is what the flags ask for.
func (r *trainResult) asked() (w workload, dtype device.DType, err error) {
	w, ok := workloads[r.Workload]
	switch {
	case !ok:
		return w, 0, fmt.Errorf("workload %q is unknown; use one of %s", r.Workload, workloadNames())
	case r.Optimizer != "adamw" && r.Optimizer != "adamw8bit":
		return w, 0, fmt.Errorf("optimizer %q is unknown; use adamw or adamw8bit", r.Optimizer)
	case r.Steps < 1 || r.Threads < 1 || r.Recompute < 0:
		return w, 0, fmt.Errorf("steps is %d and threads %d, which must be at least 1, and recompute %d, which must be at least 0", r.Steps, r.Threads, r.Recompute)
	}
	r.Recompute = max(r.Recompute, w.again)
	dtype, err = device.ParseDType(r.DType)
	return w, dtype, err
}

// run makes the steps. The first one allocates what the others find in place, and is timed with none of them.
func (r *trainResult) run(ctx context.Context) error {
	w, dtype, err := r.asked()
	if err != nil {
		return err
	}
	dev, done, err := machine.OpenTimed(r.Device, r.Threads, r.kernels)
	if err != nil {
		return err
	}
	defer done()
	r.Device = dev.Name()
	peak := meter.PeakOf(dev, r.Threads, r.DType)
	useful, work, err := r.plans(w, dtype)
	if err != nil {
		return err
	}
	m, err := w.model(dev, dtype)
	if err != nil {
		return err
	}
	params, err := w.trained(m, dev, dtype)
	if err != nil {
		return err
	}
	step := w.step(m, params, dev, dtype, r)
	kept := dev.Memory().InUse         // weights and the optimizer's state
	if _, err := step(0); err != nil { // memory is touched and pools have grown after it
		return err
	}
	if _, err := kernelTimes(dev); err != nil { // what came before is not counted
		return err
	}
	times, err := r.time(ctx, step, peak)
	if err != nil {
		return err
	}
	if r.Kernels, err = kernelTimes(dev); err != nil {
		return err
	}
	slices.Sort(times)
	r.SPerStep, r.Best = times[len(times)/2], times[0]
	r.TokensPerS = float64(w.batch*w.t) / r.SPerStep
	r.GFLOPS = float64(useful.FLOPs().Total()) / r.SPerStep / 1e9
	r.ShareOfPeak = peak.Share(r.GFLOPS)
	r.PeakRSSMB, r.PeakDeviceMB = peakRSS(), float64(dev.Memory().Peak)/1e6
	r.StepMB = float64(dev.Memory().Peak-kept) / 1e6
	planned, err := work.TimeBy(peak.Meter(plan.Rates{}))
	if err != nil {
		return err
	}
	r.PlannedS = planned.Seconds()
	return writeHeapProfile(r.memProfile)
}

// plans are the work of a step without and with what is computed twice: the one counts for the rate.
func (r *trainResult) plans(w workload, dtype device.DType) (useful, work plan.Work, err error) {
	layers := r.Recompute
	r.Recompute = 0
	useful, err = r.plan(w, dtype)
	if r.Recompute = layers; err != nil || layers == 0 {
		return useful, useful, err
	}
	work, err = r.plan(w, dtype)
	return useful, work, err
}

// drawnNumbers is how many random numbers the weights of a GPU's models are made of. It is prime, so that no two rows of a matrix are the same.
const drawnNumbers = 1<<24 - 3

// model makes the model with random weights: on a GPU, whose models are large, with the same numbers again and again, copied on the card.
func (w workload) model(dev device.Device, dtype device.DType) (*model.Model, error) {
	if _, ok := dev.(*cuda.Device); !ok {
		return model.NewPacked([]byte(w.config), dev, dtype, model.Packed{Packing: w.packing}, 1)
	}
	numbers := make([]float32, drawnNumbers)
	random := tensor.NewRandomFor(1, "pool")
	random.Normal(numbers, 0.02)
	pool, at := dev.Alloc(len(numbers), device.F32), 0
	defer dev.Free(pool)
	dev.Write(pool, numbers)
	return model.Made([]byte(w.config), dev, dtype, model.Packed{Packing: w.packing}, func(b device.Buffer) {
		for b.Len > 0 {
			n := min(b.Len, pool.Len-at)
			dev.Unary(device.Identity, b.Slice(0, n), pool.Slice(at, at+n))
			b, at = b.Slice(n, b.Len), (at+n)%pool.Len
		}
	})
}

// plan runs the same step on a device that only counts, and returns what it counted.
func (r *trainResult) plan(w workload, dtype device.DType) (work plan.Work, err error) {
	dev := plan.NewDevice()
	dev.OnCard = strings.HasPrefix(r.Device, "cuda")
	m, err := model.Declare([]byte(w.config), dev)
	if err != nil {
		return work, err
	}
	m.Alloc(dtype, model.Packed{Packing: w.packing})
	params, err := w.trained(m, dev, dtype)
	if err != nil {
		return work, err
	}
	step := w.step(m, params, dev, dtype, r)
	before := dev.Work() // packing the weights is no part of a step
	_, err = step(0)
	r.PlannedMB = float64(dev.Memory().Peak) / 1e6
	work = dev.Work()
	work.Add(before, -1)
	return work, err
}

// time runs the steps with a measurement of the machine's peak after each, and returns their seconds.
func (r *trainResult) time(ctx context.Context, step func(i int) (float64, error), peak *meter.Peak) (times []float64, err error) {
	stop, err := startCPUProfile(r.cpuProfile)
	if err != nil {
		return nil, err
	}
	for i := range r.Steps {
		if err = ctx.Err(); err != nil {
			break
		}
		begin := clock.Now()
		if r.Loss, err = step(i + 1); err != nil {
			break
		}
		times = append(times, clock.Since(begin).Seconds())
		if r.cpuProfile == "" { // the profile shows steps only
			peak.Measure()
		}
	}
	err = errors.Join(err, stop())
	peak.Measure()
	return times, err
}

// workloadNames lists the workloads.
func workloadNames() string { return strings.Join(slices.Sorted(maps.Keys(workloads)), ", ") }

// trained are the parameters to train, those of an adapter where there is one.
func (w workload) trained(m *model.Model, dev device.Device, dtype device.DType) ([]nn.Named, error) {
	switch {
	case w.floor:
		return firstNorm(m.Params), nil
	case w.rank == 0:
		return m.Params, nil
	}
	c := adapter.Default()
	c.R, c.LoraAlpha = w.rank, 2*float64(w.rank)
	l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, c)
	if err != nil {
		return nil, err
	}
	return l.Params(), l.Initialize(dev, dtype, 1)
}

// firstNorm freezes all parameters but those of the first norm of the first layer.
func firstNorm(params []nn.Named) (first []nn.Named) {
	for _, p := range params {
		if strings.Contains(p.Name, "layers.0.input_layernorm") {
			first = append(first, p)
		} else {
			p.Freeze()
		}
	}
	return first
}

// step is a full training step on random tokens.
func (w workload) step(m *model.Model, trained []nn.Named, dev device.Device, dtype device.DType, r *trainResult) func(i int) (float64, error) {
	var params []optim.Param
	for _, p := range trained {
		params = append(params, optim.Param{Name: p.Name, Tensor: p.Tensor, Decay: len(p.Shape) > 1})
	}
	config := optim.Default()
	config.EightBit = r.Optimizer == "adamw8bit"
	o := optim.New(dev, params, config)
	tape := tensor.NewTape(dev, dtype)
	random := rand.New(rand.NewPCG(1, 2))
	n := w.batch * w.t
	ids, targets, positions, offsets := make([]int32, n), make([]int32, n), make([]int32, n), []int32{0}
	for i := range n {
		ids[i], targets[i] = int32(random.IntN(m.Shape().Vocab)), int32(random.IntN(m.Shape().Vocab))
		positions[i] = int32(i % w.t)
	}
	for b := range w.batch {
		offsets = append(offsets, int32((b+1)*w.t))
	}
	return func(i int) (loss float64, err error) {
		failed := tensor.Try(func() {
			tape.Train(1, i, 0)
			in := nn.NewInput(tape, ids, positions, offsets)
			in.Recompute = r.Recompute
			l := tensor.LinearCrossEntropy(m.Hidden(in), m.Head(), tape.Ints(targets), tensor.CrossEntropyOptions{Tokens: n})
			later := l.ItemLater()
			tape.Backward(l)
			tape.Reset()
			loss, err = later()
		})
		if failed != nil {
			return 0, failed
		}
		if err == nil {
			_, err = o.Step(1e-4)
		}
		return loss, err
	}
}
