package cpu

import (
	"fmt"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu/gemm"
	"hone/device/cpu/vec"
	"hone/internal/cpuid"
	"hone/internal/fenced"
)

// TestAttentionFew: the last rows of a sequence, whose keys and values end where no memory may be read, have the bits that they have among all
// rows, by the kernels of every kind of machine.
func TestAttentionFew(t *testing.T) {
	lengths := []int{1, 15, 49, 290}
	if testing.Short() {
		lengths = []int{15, 33}
	}
	for _, k := range fewKernels() {
		d := newDevice(2, 0, k, vec.HostPath())
		for _, width := range []int{7, 8, 16, 24, 32, 64} {
			for _, heads := range [][2]int{{2, 2}, {6, 2}} {
				for _, n := range lengths {
					for _, dtype := range []device.DType{device.F32, device.BF16} {
						checkFew(t, k.Name, newAttentionData(d, attentionShape{1, n, heads[0], heads[1], width, 40}, dtype))
					}
				}
			}
		}
		d.Close()
	}
}

// fewKernels are those of this machine to which few rows are not the same as all.
func fewKernels() (kinds []*gemm.Kernels) {
	host := cpuid.Host()
	dots := host
	dots.SlowBF16Dots = false
	other := dots
	other.AskAhead = !host.AskAhead
	for _, f := range []cpuid.Features{dots, other, host.WithoutAVX512BF16(), host.WithoutAVX512()} {
		k := gemm.NewKernels(f)
		if k.FewF32 != nil && (len(kinds) == 0 || f.HasAVX512() || kinds[0].Name != k.Name) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// checkFew compares the last one, two and three rows of a with those of all.
func checkFew(t *testing.T, kernels string, a *attentionData) {
	c := a.grad.Attention
	a.d.Attention(c)
	want, n := a.results(), c.Sequences[0].KLen
	what := fmt.Sprintf("%s, %s: %d rows of %d and %d heads of %d", kernels, c.Q.DType, n, c.Heads, c.KVHeads, c.D)
	c.K, c.V = fencedCopy(t, a.d, c.K), fencedCopy(t, a.d, c.V)
	for queries := 1; queries <= min(3, n); queries++ {
		a.d.Fill(c.O, 0)
		c.Sequences = []device.Sequence{{Q: n - queries, QLen: queries, KLen: n}}
		a.d.Attention(c)
		from := (n - queries) * c.Heads * c.D
		if !slices.Equal(a.results()["O"][from:], want["O"][from:]) {
			t.Errorf("%s: the last %d have other bits", what, queries)
		}
	}
}

// fencedCopy is b in memory behind which nothing may be touched.
func fencedCopy(t *testing.T, d *Device, b device.Buffer) device.Buffer {
	m, size := fenced.New(t), b.Len*b.DType.Size()
	to := device.Buffer{Mem: &block{start: m.Tail(size), bytes: int64(size)}, Len: b.Len, DType: b.DType}
	d.Unary(device.Identity, to, b)
	return to
}
