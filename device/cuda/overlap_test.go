//go:build linux && (amd64 || arm64)

package cuda

import (
	"slices"
	"testing"

	"hone/device"
)

// lately runs a test with either kind of queue late.
func lately(t *testing.T, test func(t *testing.T, d *Device)) {
	for name, l := range map[string]lateness{"copies": copiesLate, "kernels": kernelsLate} {
		t.Run(name, func(t *testing.T) { test(t, openLate(t, rising, false, l)) })
	}
}

// TestReadLater reads what was there when it was asked for, whatever comes after.
func TestReadLater(t *testing.T) {
	lately(t, func(t *testing.T, d *Device) {
		b, got := d.Alloc(3, device.F32), make([]float32, 3)
		d.Write(b, []float32{1, 2, 3})
		d.Scale(b, 2)
		wait := d.ReadLater(got, b)
		d.Fill(b, 9)
		d.Free(b)
		d.Fill(d.Alloc(3, device.F32), 7)
		if err := wait(); err != nil || !slices.Equal(got, []float32{2, 4, 6}) {
			t.Errorf("read %v, %v; want 2 4 6", got, err)
		}
	})
}

// TestWriteRunsAhead writes more than the staging area holds into one buffer, which kernels read in between.
func TestWriteRunsAhead(t *testing.T) {
	lately(t, func(t *testing.T, d *Device) {
		const n = 3 * largePiece / 4
		from, sum := make([]float32, n), d.Alloc(n, device.F32)
		d.Fill(sum, 0)
		for i := range 2 * largePieces {
			for k := range from {
				from[k] = float32(i)
			}
			b := d.Alloc(n, device.F32)
			d.Write(b, from)
			d.AddScaled(sum, 1, b)
			d.Free(b)
		}
		got := make([]float32, n)
		if err := d.Read(got, sum); err != nil {
			t.Fatal(err)
		}
		const want = largePieces * (2*largePieces - 1)
		if slices.Min(got) != want || slices.Max(got) != want {
			t.Errorf("the sum is from %g to %g, want %d", slices.Min(got), slices.Max(got), want)
		}
	})
}

// TestDriverFailureStays: after the driver failed nothing is read, so that weights half updated are not saved.
func TestDriverFailureStays(t *testing.T) {
	d := openLate(t, rising, false, kernelsLate)
	b := d.Alloc(4, device.F32)
	d.Fill(b, 1)
	d.fail(errNoProduct)
	for range 2 {
		if err := d.Read(make([]float32, 4), b); err == nil {
			t.Fatal("a device that failed was read")
		}
	}
	d.err = nil
}
