//go:build linux && (amd64 || arm64)

package cuda

import (
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
)

// TestPagedUpdates makes steps of AdamW on state in the host's memory, a few parts at a time, and compares all bits with state on
// the card. In between the state is read, written and used in place.
func TestPagedUpdates(t *testing.T) {
	lately(t, func(t *testing.T, d *Device) {
		d.paging.part = 2 * device.DynamicBlock
		for _, k := range []struct {
			n             int
			halves, codes bool
		}{{2900, false, false}, {2900, true, false}, {2900, false, true}, {2900, true, true}, {300, false, false}} {
			paged, plain := newUpdate(t, d, k.n, k.halves, k.codes, true), newUpdate(t, d, k.n, k.halves, k.codes, false)
			for step := 1; step <= 4; step++ {
				paged.step(step)
				plain.step(step)
				if step == 3 { // in place, between two steps that are not
					for _, u := range []*update{paged, plain} {
						if k.codes {
							d.Fill(u.k.M, 3)
						} else {
							d.Scale(u.k.M, 0.5)
						}
					}
				}
			}
			for i, b := range paged.buffers() {
				if got, want := raw(t, d, b), raw(t, d, plain.buffers()[i]); !slices.Equal(got, want) {
					t.Errorf("%+v: buffer %d of the paged update differs", k, i)
				}
			}
			paged.free()
			plain.free()
		}
	})
}

// update is the operands of AdamW.
type update struct {
	d *Device
	k device.AdamW
}

func newUpdate(t *testing.T, d *Device, n int, halves, codes, paged bool) *update {
	t.Helper()
	state := func(n int, dtype device.DType) device.Buffer {
		if !paged {
			return d.AllocZero(n, dtype)
		}
		b, err := d.AllocPaged(t.TempDir(), n, dtype)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := rand.New(rand.NewPCG(1, 2))
	values := func() []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	u := &update{d: d, k: device.AdamW{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Scale: 1}}
	kind := device.F32
	if halves {
		kind, u.k.Rest = device.BF16, state(2*n, device.U8)
	}
	u.k.Param, u.k.Grad = d.Alloc(n, kind), d.Alloc(n, device.F32)
	d.Write(u.k.Param, values())
	d.Write(u.k.Grad, values())
	moment := device.F32
	if codes {
		moment = device.U8
		blocks := over(n, device.DynamicBlock)
		u.k.MScale, u.k.VScale = d.AllocZero(blocks, device.F32), d.AllocZero(blocks, device.F32)
	}
	u.k.M, u.k.V = state(n, moment), state(n, moment)
	return u
}

// step updates in two calls, as an optimizer does that pages.
func (u *update) step(step int) {
	const cut = 5 * device.DynamicBlock
	n := u.k.Param.Len
	for _, part := range [][2]int{{0, min(cut, n)}, {min(cut, n), n}} {
		k, lo, hi := u.k, part[0], part[1]
		k.Step = step
		k.Param, k.Grad, k.M, k.V = k.Param.Slice(lo, hi), k.Grad.Slice(lo, hi), k.M.Slice(lo, hi), k.V.Slice(lo, hi)
		if !k.Rest.IsZero() {
			k.Rest = k.Rest.Slice(2*lo, 2*hi)
		}
		if !k.MScale.IsZero() {
			first, last := lo/device.DynamicBlock, over(hi, device.DynamicBlock)
			k.MScale, k.VScale = k.MScale.Slice(first, last), k.VScale.Slice(first, last)
		}
		u.d.AdamW(k)
	}
}

func (u *update) buffers() (list []device.Buffer) {
	for _, b := range []device.Buffer{u.k.Param, u.k.M, u.k.V, u.k.Rest, u.k.MScale, u.k.VScale} {
		if !b.IsZero() {
			list = append(list, b)
		}
	}
	return list
}

func (u *update) free() {
	for _, b := range append(u.buffers(), u.k.Grad) {
		u.d.Free(b)
	}
}

// raw is the content of a buffer as bytes.
func raw(t *testing.T, d *Device, b device.Buffer) []uint8 {
	t.Helper()
	bytes := make([]uint8, b.Len*b.DType.Size())
	if err := read(d, bytes, address(b)); err != nil {
		t.Fatal(err)
	}
	return bytes
}
