//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/tensor"
)

// holdCase are calls on buffers of a device, and what they become: the kernels that run when nothing comes between the calls.
type holdCase struct {
	name    string
	calls   func(d *Device, b []device.Buffer) []func()
	kernels []string
}

// The sizes of the cases: rows of channels, and places of a cache.
const (
	heldRows, heldIn, heldOut = 3, 64, 40
	heldHeads, heldWidth      = 2, 20
	heldPlaces                = 7
)

// heldProduct multiplies the rows in x by the weight w.
func heldProduct(y, x, w device.Buffer) device.MatMul {
	return device.MatMul{M: heldRows, N: heldOut, K: heldIn, A: x, B: w, C: y, TransB: true}
}

// holdCases work on x, another x, three weights, three results and two more, a table of angles with its positions, and a cache with places.
var holdCases = []holdCase{
	{"three products", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.MatMul(heldProduct(b[6], b[0], b[3])) }, func() { d.MatMul(heldProduct(b[7], b[0], b[4])) }}
	}, []string{"few_rows_8"}},
	{"other rows", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.MatMul(heldProduct(b[6], b[1], b[3])) }}
	}, []string{"few_rows_8", "few_rows_8"}},
	{"a sum of two products", func(d *Device, b []device.Buffer) []func() {
		second := heldProduct(b[5], b[0], b[3])
		second.Accumulate = true
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.MatMul(second) }}
	}, []string{"few_rows_8", "few_rows_8"}},
	{"a product and a sum", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.Binary(device.Add, b[8], b[8], b[5]) }}
	}, []string{"few_rows_8"}},
	{"a product and its double", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.Binary(device.Add, b[8], b[5], b[5]) }}
	}, []string{"few_rows_8", "binary"}},
	{"a sum over what the product reads", func(d *Device, b []device.Buffer) []func() {
		x := b[0].Slice(0, heldRows*heldOut)
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.Binary(device.Add, x, b[8], b[5]) }}
	}, []string{"few_rows_8", "binary"}},
	{"a gated pair", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.MatMul(heldProduct(b[6], b[0], b[3])) },
			func() { d.Gated(device.SiLU, b[8], b[5], b[6]) }}
	}, []string{"few_pairs_8"}},
	{"a gated pair, turned round", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.MatMul(heldProduct(b[6], b[0], b[3])) },
			func() { d.Gated(device.SiLU, b[8], b[6], b[5]) }}
	}, []string{"few_rows_8", "gated"}},
	{"queries, keys and values", func(d *Device, b []device.Buffer) []func() {
		turn := device.Rope{Cos: b[10], Sin: b[11], Positions: b[12], Heads: heldHeads, D: heldWidth, Rotary: 16}
		q, k := turn, turn
		q.Y, q.X, k.Y, k.X = b[8], b[5], b[9], b[6]
		return []func(){func() { d.Rope(q) }, func() { d.Rope(k) }, func() { d.PutRows(b[14], b[9], b[13]) }, func() { d.PutRows(b[15], b[7], b[13]) }}
	}, []string{"rotate"}},
	{"a rotation of what is rotated", func(d *Device, b []device.Buffer) []func() {
		turn := device.Rope{Cos: b[10], Sin: b[11], Positions: b[12], Heads: heldHeads, D: heldWidth, Rotary: 16}
		first, second := turn, turn
		first.Y, first.X, second.Y, second.X = b[8], b[5], b[9], b[8]
		return []func(){func() { d.Rope(first) }, func() { d.Rope(second) }, func() { d.PutRows(b[14], b[8], b[13]) }}
	}, []string{"rotate", "rotate"}},
	{"rows over what was put", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.PutRows(b[14], b[5], b[13]) }, func() { d.PutRows(b[14], b[6], b[13]) }}
	}, []string{"rotate", "rotate"}},
	{"a sum and its norm", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.Binary(device.Add, b[5], b[6], b[7]) }, func() { d.Norm(heldNorm(b, b[8], b[5])) }}
	}, []string{"sum_norm_rows_256"}},
	{"a sum and its norm, in place of what was added", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.Binary(device.Add, b[6], b[6], b[7]) }, func() { d.Norm(heldNorm(b, b[7], b[6])) }}
	}, []string{"sum_norm_rows_256"}},
	{"a double and its norm, in its place", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.Binary(device.Add, b[5], b[6], b[6]) }, func() { d.Norm(heldNorm(b, b[5], b[5])) }}
	}, []string{"sum_norm_rows_256"}},
	{"a sum and the norm of another", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.Binary(device.Add, b[5], b[6], b[7]) }, func() { d.Norm(heldNorm(b, b[8], b[9])) }}
	}, []string{"binary", "norm_rows_256"}},
	{"a sum and the norm of one of its rows", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.Binary(device.Add, b[5], b[6], b[7]) }, func() { d.Norm(heldNorm(b, b[8].Slice(0, heldOut), b[5].Slice(0, heldOut))) }}
	}, []string{"binary", "norm_rows_256"}},
	{"a difference and its norm", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.Binary(device.Sub, b[5], b[6], b[7]) }, func() { d.Norm(heldNorm(b, b[8], b[5])) }}
	}, []string{"binary", "norm_rows_256"}},
	{"a sum and its norm, over rows that are still added", func(d *Device, b []device.Buffer) []func() {
		n := 2 * heldOut
		return []func(){func() { d.Binary(device.Add, b[5].Slice(0, n), b[6].Slice(0, n), b[7].Slice(0, n)) },
			func() { d.Norm(heldNorm(b, b[6].Slice(heldOut, heldOut+n), b[5].Slice(0, n))) }}
	}, []string{"binary", "norm_rows_256"}},
	{"a sum and its norm, whose weight is the sum", func(d *Device, b []device.Buffer) []func() {
		norm := heldNorm(b, b[8], b[5])
		norm.Weight = b[5].Slice(0, heldOut)
		return []func(){func() { d.Binary(device.Add, b[5], b[6], b[7]) }, func() { d.Norm(norm) }}
	}, []string{"binary", "norm_rows_256"}},
	{"a sum and its norm, whose factors are over what is added", func(d *Device, b []device.Buffer) []func() {
		n := b[10].Len
		norm := heldNorm(b, b[11], b[5].Slice(0, n))
		norm.C, norm.Weight, norm.Rstd = n/4, device.Buffer{}, b[10].Slice(n-4, n)
		return []func(){func() { d.Binary(device.Add, b[5].Slice(0, n), b[10], b[7].Slice(0, n)) }, func() { d.Norm(norm) }}
	}, []string{"binary", "norm_rows_256"}},
	{"a sum of a sum, and the norm of that", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.Binary(device.Add, b[5], b[6], b[7]) }, func() { d.Binary(device.Add, b[8], b[5], b[9]) }, func() { d.Norm(heldNorm(b, b[6], b[8])) }}
	}, []string{"binary", "sum_norm_rows_256"}},
	{"a product, its sum and the norm of that", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.MatMul(heldProduct(b[5], b[0], b[2])) }, func() { d.Binary(device.Add, b[8], b[8], b[5]) }, func() { d.Norm(heldNorm(b, b[9], b[8])) }}
	}, []string{"few_rows_8", "norm_rows_256"}},
	{"norms of three tensors", func(d *Device, b []device.Buffer) []func() {
		return []func(){heldSum(d, device.SumSquares, b[10], 0, b[0]), heldSum(d, device.SumSquares, b[10], 1, b[2]), heldSum(d, device.SumSquares, b[10], 2, b[11])}
	}, []string{"reduce_parts", "reduce_final"}},
	{"a sum of a sum", func(d *Device, b []device.Buffer) []func() {
		return []func(){heldSum(d, device.Sum, b[10], 0, b[0]), heldSum(d, device.Sum, b[10], 1, b[10].Slice(0, 1))}
	}, []string{"reduce_parts", "reduce_final", "reduce_parts", "reduce_final"}},
	{"a sum and a largest number", func(d *Device, b []device.Buffer) []func() {
		return []func(){heldSum(d, device.Sum, b[10], 0, b[0]), heldSum(d, device.MaxAbs, b[10], 1, b[0])}
	}, []string{"reduce_parts", "reduce_final", "reduce_parts", "reduce_final"}},
	{"updates of two tensors", func(d *Device, b []device.Buffer) []func() {
		first, second := heldUpdate(b, 0), heldUpdate(b, 8)
		second.LR, second.Decay = 0.2, 0.5
		return []func(){func() { d.AdamW(first) }, func() { d.AdamW(second) }}
	}, []string{"adamw"}},
	{"two updates of a tensor", func(d *Device, b []device.Buffer) []func() {
		return []func(){func() { d.AdamW(heldUpdate(b, 0)) }, func() { d.AdamW(heldUpdate(b, 0)) }}
	}, []string{"adamw", "adamw"}},
	{"updates at two scales", func(d *Device, b []device.Buffer) []func() {
		first, second := heldUpdate(b, 0), heldUpdate(b, 8)
		second.Scale = 0.5
		return []func(){func() { d.AdamW(first) }, func() { d.AdamW(second) }}
	}, []string{"adamw", "adamw"}},
}

// heldNorm normalises the rows in x.
func heldNorm(b []device.Buffer, y, x device.Buffer) device.Norm {
	return device.Norm{C: heldOut, Y: y, X: x, Weight: b[2].Slice(0, heldOut), Rstd: b[10].Slice(0, x.Len/heldOut), Eps: 1e-5}
}

// heldSum reduces x to number i of y.
func heldSum(d *Device, op device.ReduceOp, y device.Buffer, i int, x device.Buffer) func() {
	return func() { d.Reduce(op, y.Slice(i, i+1), x) }
}

// heldUpdate updates 8 numbers of b[11] from at on, whose moments are in b[10].
func heldUpdate(b []device.Buffer, at int) device.AdamW {
	return device.AdamW{Param: b[11].Slice(at, at+8), Grad: b[0].Slice(at, at+8), M: b[10].Slice(at, at+8), V: b[10].Slice(16+at, 24+at),
		LR: 0.1, Beta1: 0.5, Eps: 1e-8, Scale: 2, Step: 1}
}

// TestWhatIsHeld: calls that become one launch leave the bits in all memory that they leave one by one.
func TestWhatIsHeld(t *testing.T) {
	for _, c := range holdCases {
		t.Run(c.name, func(t *testing.T) {
			d := openEmulated(t, both, true)
			ran := &named{driver: d.driver.(orderly).driver, names: map[function]string{}}
			d.driver = orderly{ran, d}
			apart := c.run(t, d, func() {
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
			})
			ran.ran = nil
			together := c.run(t, d, func() {})
			if !slices.Equal(apart, together) {
				t.Error("other bits than one by one")
			}
			ran.ran = slices.DeleteFunc(ran.ran, func(name string) bool { return name == kernelWrite.name })
			if !slices.Equal(ran.ran, c.kernels) {
				t.Errorf("ran %v, want %v", ran.ran, c.kernels)
			}
		})
	}
}

// run makes the buffers, calls between after each call, and prints what is in all of the buffers then.
func (c *holdCase) run(t *testing.T, d *Device, between func()) (bits []string) {
	var b []device.Buffer
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int, t device.DType) device.Buffer {
		v, x := make([]float32, n), d.Alloc(n, t)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		d.Write(x, v)
		return x
	}
	for _, n := range []int{heldRows * heldIn, heldRows * heldIn, heldOut * heldIn, heldOut * heldIn, heldOut * heldIn, heldRows * heldOut,
		heldRows * heldOut, heldRows * heldOut, heldRows * heldOut, heldRows * heldOut} {
		b = append(b, random(n, device.BF16))
	}
	b = append(b, random(4*8, device.F32), random(4*8, device.F32), d.Alloc(heldRows, device.I32), d.Alloc(heldRows, device.I32),
		random(heldPlaces*heldOut, device.BF16), random(heldPlaces*heldOut, device.BF16))
	d.Write(b[12], []int32{2, 0, 3})
	d.Write(b[13], []int32{6, 1, 4})
	for _, call := range c.calls(d, b) {
		call()
		between()
	}
	for _, x := range b {
		if x.DType != device.I32 {
			v := make([]float32, x.Len)
			if err := d.Read(v, x); err != nil {
				t.Fatal(err)
			}
			bits = append(bits, fmt.Sprint(v))
		}
		d.Free(x)
	}
	return bits
}

// named is a driver that notes the kernels that run.
type named struct {
	driver
	names map[function]string
	ran   []string
}

func (n *named) load(k kernel) (function, error) {
	f, err := n.driver.load(k)
	n.names[f] = k.name
	return f, err
}

func (n *named) launch(f function, s shape, args unsafe.Pointer, size uintptr) error {
	n.ran = append(n.ran, n.names[f])
	return n.driver.launch(f, s, args, size)
}

// TestSumsJoinNorms: sums with the residual stream are computed by the norms that read them, within blocks and from one to the next.
func TestSumsJoinNorms(t *testing.T) {
	d := openEmulated(t, rising, false)
	ran := &named{driver: d.driver.(orderly).driver, names: map[function]string{}}
	d.driver = orderly{ran, d}
	const n = 20 // more rows than kernels of few rows take
	var ids []int32
	for i := range n {
		ids = append(ids, int32(i))
	}
	for name, want := range map[string]int{"llama_untied": 2 * 2, "gemma2": 2 * 3, "mixtral": 2 * 2, "gpt2_tied": 2*2 + 1} { // GPT-2 adds positions to tokens
		m, err := model.Open(filepath.Join("..", "..", "testdata", "golden", name), d, device.BF16)
		if err != nil {
			t.Fatal(err)
		}
		tape := tensor.NewTape(d, device.BF16)
		tape.Train(1, 0, 0)
		ran.ran = nil
		m.Hidden(nn.NewInput(tape, ids, ids, []int32{0, n}))
		sums, joined := 0, 0
		for _, k := range ran.ran {
			if strings.HasPrefix(k, "sum_norm_rows") {
				joined++
			} else if k == kernelBinary.name {
				sums++
			}
		}
		if joined != want || sums != 0 {
			t.Errorf("%s: norms compute %d sums and %d are apart, want %d and none", name, joined, sums, want)
		}
		tape.Reset()
		m.Free()
	}
}

// TestWritesJoin: what the host writes next goes to the card with the same launch, where there is room and no place is written twice.
func TestWritesJoin(t *testing.T) {
	d := openLate(t, both, true, kernelsLate)
	ran := &named{driver: d.driver.(orderly).driver, names: map[function]string{}}
	d.driver = orderly{ran, d}
	want := [][]int32{{1, 2, 3}, {4}, {5, 6, 7, 8, 9}, slices.Repeat([]int32{10}, 400), {11, 12}, {13}}
	var all []device.Buffer
	for _, v := range want {
		all = append(all, d.Alloc(len(v), device.I32))
	}
	bytes := d.Alloc(3, device.U8)
	d.Fill(d.Alloc(1, device.F32), 0) // what was written before has gone
	ran.ran = nil
	d.Write(bytes, []uint8{1, 2, 3})
	for i, v := range want {
		d.Write(all[i], v)
	}
	d.Write(all[5], []int32{14}) // comes after the one before
	want[5] = []int32{14}
	d.Fill(d.Alloc(1, device.F32), 0)
	n := 0
	for _, name := range ran.ran {
		if name == kernelWrite.name {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d launches wrote, want 3: %v", n, ran.ran)
	}
	for i, v := range want {
		got := make([]int32, len(v))
		if err := d.Read(got, all[i]); err != nil || !slices.Equal(got, v) {
			t.Errorf("write %d is %v, %v, want %v", i, got, err, v)
		}
	}
	got := make([]uint8, 3)
	if err := d.Read(got, bytes); err != nil || !slices.Equal(got, []uint8{1, 2, 3}) {
		t.Errorf("bytes are %v, %v", got, err)
	}
}
