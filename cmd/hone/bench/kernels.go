package bench

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/device"
	"hone/internal/clock"
)

// kernelBench is one kernel to time: call queues it once.
type kernelBench struct {
	name  string
	ops   float64 // multiplications and additions in a call
	bytes int     // read and written at least, where that is what takes the time; else 0
	call  func()
}

// kernelResult is what one was measured at.
type kernelResult struct {
	Kernel string  `json:"kernel"`
	Device string  `json:"device"`
	S      float64 `json:"s"` // of a call
	GFLOPS float64 `json:"gflops"`
	GBS    float64 `json:"gb_s,omitempty"` // of kernels that memory holds up
}

// kernelsCommand times each kernel alone in the shapes of known models, to tell where a step's time goes.
func kernelsCommand(a *cli.App) *cobra.Command {
	name, threads, tokens := "cpu", runtime.GOMAXPROCS(0), 4096
	cmd := &cobra.Command{
		Use: "kernels", Short: "Time single kernels in the shapes of Llama 3 8B and GPT-2", Example: "  hone bench kernels --device cuda --json",
		RunE: func(*cobra.Command, []string) error {
			if tokens < 1 {
				return fmt.Errorf("tokens is %d; use a positive number", tokens)
			}
			dev, done, err := machine.OpenTimed(name, threads, false)
			if err != nil {
				return err
			}
			defer done()
			m := &kernelMemory{dev: dev, rand: rand.New(rand.NewPCG(1, 2))}
			for _, group := range []func(*kernelMemory, int) []kernelBench{attentionBenches, decodeBenches, fewRowsBenches, unpackedBenches} {
				for _, k := range group(m, tokens) {
					r, err := k.time(dev)
					if err != nil {
						return err
					}
					if err := a.Result(r, r.line); err != nil {
						return err
					}
				}
				m.free()
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "device", name, "where to compute: cpu, cuda or cuda:N")
	cmd.Flags().IntVar(&threads, "threads", threads, "cores to use")
	cmd.Flags().IntVar(&tokens, "tokens", tokens, "length of a sequence")
	return cmd
}

// line prints a kernel in a line.
func (r kernelResult) line(w io.Writer) {
	rate := fmt.Sprintf("%9.0f GFLOP/s", r.GFLOPS)
	if r.GBS > 0 {
		rate = fmt.Sprintf("%9.1f GB/s", r.GBS)
	}
	fmt.Fprintf(w, "%-56s %10.3f ms %s\n", r.Kernel, 1e3*r.S, rate)
}

// time calls the kernel for a quarter of a second, after once to warm up.
func (k *kernelBench) time(dev device.Device) (kernelResult, error) {
	k.call()
	if err := dev.Sync(); err != nil {
		return kernelResult{}, err
	}
	calls, begin := 0, clock.Now()
	for batch := 1; clock.Since(begin) < 250*time.Millisecond; batch = min(2*batch, 64) {
		for range batch { // queued together
			k.call()
		}
		if err := dev.Sync(); err != nil {
			return kernelResult{}, err
		}
		calls += batch
	}
	s := clock.Since(begin).Seconds() / float64(calls)
	return kernelResult{Kernel: k.name, Device: dev.Name(), S: s, GFLOPS: k.ops / s / 1e9, GBS: float64(k.bytes) / s / 1e9}, nil
}

// kernelMemory makes operands of random numbers.
type kernelMemory struct {
	dev     device.Device
	rand    *rand.Rand
	buffers []device.Buffer
}

func (m *kernelMemory) normal(n int, t device.DType) device.Buffer {
	b, part := m.dev.Alloc(n, t), make([]float32, min(n, 1<<16))
	m.buffers = append(m.buffers, b)
	for i := range part {
		part[i] = float32(m.rand.NormFloat64())
	}
	for lo := 0; lo < n; lo += len(part) {
		hi := min(lo+len(part), n)
		m.dev.Write(b.Slice(lo, hi), part[:hi-lo])
	}
	return b
}

func (m *kernelMemory) free() {
	for _, b := range m.buffers {
		m.dev.Free(b)
	}
	m.buffers = nil
}

// attentionBenches are causal attention and its gradient in bf16, with the operations of what is not hidden: two products
// forward, five in the gradient.
func attentionBenches(m *kernelMemory, tokens int) (list []kernelBench) {
	for _, s := range []struct{ heads, kv, d, sequences int }{{32, 8, 128, 1}, {12, 12, 64, 4}, {8, 4, 256, 1}} {
		rows := s.sequences * tokens
		q, k := rows*s.heads*s.d, rows*s.kv*s.d
		a := device.Attention{O: m.normal(q, device.BF16), Q: m.normal(q, device.BF16), K: m.normal(k, device.BF16), V: m.normal(k, device.BF16),
			LSE: m.normal(rows*s.heads, device.F32), Heads: s.heads, KVHeads: s.kv, D: s.d, Scale: float32(1 / math.Sqrt(float64(s.d)))}
		for i := range s.sequences {
			a.Sequences = append(a.Sequences, device.Sequence{Q: i * tokens, QLen: tokens, K: i * tokens, KLen: tokens})
		}
		g := device.AttentionGrad{Attention: a, DO: m.normal(q, device.BF16), DQ: m.normal(q, device.BF16), DK: m.normal(k, device.BF16), DV: m.normal(k, device.BF16)}
		product := float64(s.sequences*s.heads*s.d) * float64(tokens) * float64(tokens+1)
		name := fmt.Sprintf("%d of %d tokens, %d heads on %d of %d", s.sequences, tokens, s.heads, s.kv, s.d)
		list = append(list, kernelBench{name: "attention " + name, ops: 2 * product, call: func() { m.dev.Attention(a) }},
			kernelBench{name: "gradient " + name, ops: 5 * product, call: func() { m.dev.AttentionGrad(g) }})
	}
	return list
}

// decodeBenches are attention of one token of each sequence to a cache of so many tokens, in the shape of Llama 3 8B.
func decodeBenches(m *kernelMemory, tokens int) (list []kernelBench) {
	const heads, kv, d = 32, 8, 128
	for _, batch := range []int{1, 16} {
		q, k := batch*heads*d, batch*tokens*kv*d
		a := device.Attention{O: m.normal(q, device.BF16), Q: m.normal(q, device.BF16), K: m.normal(k, device.BF16), V: m.normal(k, device.BF16),
			Heads: heads, KVHeads: kv, D: d, Scale: float32(1 / math.Sqrt(d))}
		for i := range batch {
			a.Sequences = append(a.Sequences, device.Sequence{Q: i, QLen: 1, K: i * tokens, KLen: tokens})
		}
		list = append(list, kernelBench{name: fmt.Sprintf("decode %d on a cache of %d tokens, %d heads on %d of %d", batch, tokens, heads, kv, d),
			ops: 4 * float64(q) * float64(tokens), bytes: 4 * k, call: func() { m.dev.Attention(a) }})
	}
	return list
}

// fewRowsBenches are products of a few tokens by a weight of Llama 3 8B's feed-forward layer, in bf16 and in NF4.
func fewRowsBenches(m *kernelMemory, _ int) (list []kernelBench) {
	const out, in = 14336, 4096
	w := m.normal(out*in, device.BF16)
	p := m.packed(device.NF4, out, in)
	for _, rows := range []int{1, 8} {
		mm := device.MatMul{M: rows, N: out, K: in, A: m.normal(rows*in, device.BF16), TransB: true, C: m.normal(rows*out, device.BF16)}
		packed, ops := mm, 2*float64(rows)*out*in
		mm.B = w
		list = append(list, kernelBench{name: fmt.Sprintf("product of %d by %d x %d", rows, out, in), ops: ops, bytes: 2 * out * in, call: func() { m.dev.MatMul(mm) }},
			kernelBench{name: fmt.Sprintf("product of %d by %d x %d in NF4", rows, out, in), ops: ops, bytes: p.Codes.Len + p.Scales.Len + 4*p.Nested.Len,
				call: func() { device.MatMulPacked(m.dev, packed, p) }})
	}
	return list
}

// unpackedBenches are products of 256 tokens by the same weight in NF4, both that a linear layer needs, and in bf16.
func unpackedBenches(m *kernelMemory, tokens int) (list []kernelBench) {
	const out, in = 14336, 4096
	rows := min(tokens, 256)
	w, p := m.normal(out*in, device.BF16), m.packed(device.NF4, out, in)
	x, y := m.normal(rows*in, device.BF16), m.normal(rows*out, device.BF16)
	for _, form := range []struct {
		name string
		m    device.MatMul
	}{{"product", device.MatMul{M: rows, N: out, K: in, A: x, TransB: true, C: y}}, {"gradient", device.MatMul{M: rows, N: in, K: out, A: y, C: x}}} {
		dense := form.m
		dense.B = w
		name, ops := fmt.Sprintf("%s of %d by %d x %d", form.name, rows, out, in), 2*float64(rows)*out*in
		list = append(list, kernelBench{name: name, ops: ops, call: func() { m.dev.MatMul(dense) }},
			kernelBench{name: name + " in NF4", ops: ops, call: func() { device.MatMulPacked(m.dev, form.m, p) }})
	}
	return list
}

// packed makes a matrix of random numbers in few bits.
func (m *kernelMemory) packed(packing device.Packing, rows, cols int) device.Packed {
	p := device.NewPacked(m.dev, packing, rows, cols)
	for _, b := range []device.Buffer{p.Codes, p.Scales, p.Nested, p.Offset} {
		if !b.IsZero() {
			m.buffers = append(m.buffers, b)
		}
	}
	whole := m.normal(rows*cols, device.F32)
	m.dev.Pack(p, whole)
	m.dev.Free(whole)
	m.buffers = m.buffers[:len(m.buffers)-1]
	return p
}
