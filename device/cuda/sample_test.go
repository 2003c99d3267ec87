//go:build linux && (amd64 || arm64)

package cuda

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
	"hone/generate"
)

// TestSampleEmulated draws on the card what the CPU draws.
func TestSampleEmulated(t *testing.T) { testSample(t, openEmulated(t, rising, true)) }

// TestSamplePartsEmulated does with rows in parts, as on a card of many multiprocessors, in both orders of threads.
func TestSamplePartsEmulated(t *testing.T) {
	d := openLate(t, both, true, kernelsLate)
	d.card.processors = 132
	testSample(t, d)
}

// TestSample does on a real one.
func TestSample(t *testing.T) { testSample(t, openCard(t)) }

func testSample(t *testing.T, d *Device) {
	settings := []generate.Sampling{
		{Temperature: 0, TopP: 1}, {Temperature: 1, TopP: 1}, {Temperature: 0.7, TopP: 1, TopK: 5}, {Temperature: 1, TopP: 0.9},
		{Temperature: 1.3, TopP: 0.5, TopK: 40}, {Temperature: 1, TopP: 1, MinP: 0.2}, {Temperature: 0.9, TopP: 0.8, MinP: 0.3, TopK: 9},
		{Temperature: 1, TopP: 0.95, MinP: 0.001}, {Temperature: 1, TopP: 1, TopK: 1}, {Temperature: 1e-40, TopP: 0.9}, {Temperature: 3, TopP: 1e-12},
	}
	if testing.Short() {
		settings = settings[4:8]
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i, o := range settings {
		o.RepetitionPenalty, o.Seed = 1, uint64(i)
		for _, v := range []int{1, 7, 1300, 5002} {
			rows := sampleRows(r, v)
			logits, random := slices.Concat(rows...), make([]int32, 2*len(rows))
			for n := range rows {
				bits := generate.Bits(o.Seed, uint64(n), 3)
				random[2*n], random[2*n+1] = int32(bits), int32(bits>>32)
			}
			s := device.Sample{V: v, Logits: d.Alloc(len(logits), device.F32), Random: d.Alloc(len(random), device.I32), IDs: d.Alloc(len(rows), device.I32),
				Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP, MinP: o.MinP}
			d.Write(s.Logits, logits)
			d.Write(s.Random, random)
			if !d.Draws(s) {
				t.Fatalf("the device does not draw by %+v", o)
			}
			d.Sample(s)
			got := make([]int32, len(rows))
			if err := d.Read(got, s.IDs); err != nil {
				t.Fatal(err)
			}
			sampler := generate.NewSampler(o)
			for n, row := range rows {
				want, err := sampler.Pick(slices.Clone(row), nil, uint64(n), 3)
				if err != nil {
					want = -1
				}
				if got[n] != want {
					t.Errorf("%+v: token %d of %d in row %d, want %d", o, got[n], v, n, want)
				}
			}
			for _, b := range []device.Buffer{s.Logits, s.Random, s.IDs} {
				d.Free(b)
			}
		}
	}
}

// sampleRows are rows of logits: usual ones, ones with many equals, zeros of both signs, and ones that are not finite.
func sampleRows(r *rand.Rand, v int) [][]float32 {
	inf := float32(math.Inf(1))
	values := []func() float32{
		func() float32 { return float32(3 * r.NormFloat64()) },
		func() float32 { return float32(0.1 * r.NormFloat64()) },
		func() float32 { return float32(r.IntN(4)) },
		func() float32 { return []float32{0, float32(math.Copysign(0, -1)), -1}[r.IntN(3)] },
		func() float32 { return []float32{1, -inf, -200}[r.IntN(3)] },
		func() float32 { return 2 },
		func() float32 { return -inf },
	}
	var rows [][]float32
	for _, f := range values {
		row := make([]float32, v)
		for i := range row {
			row[i] = f()
		}
		rows = append(rows, row)
	}
	for _, bad := range []float32{inf, float32(math.NaN())} {
		row := slices.Clone(rows[0])
		row[r.IntN(v)] = bad
		rows = append(rows, row)
	}
	return rows
}

// TestPick takes numbers that the host does not know by indices that it does.
func TestPick(t *testing.T) {
	lately(t, func(t *testing.T, d *Device) {
		const n = 300
		from, rows, want, got := make([]int32, 2*n), make([]int32, n), make([]int32, n), make([]int32, n)
		for i := range from {
			from[i] = int32(7 * i)
		}
		for i := range rows {
			rows[i] = int32((5*i + 3) % (2 * n))
			want[i] = from[rows[i]]
		}
		src, at, dst := d.Alloc(2*n, device.I32), d.Alloc(n, device.I32), d.Alloc(n, device.I32)
		d.Write(src, from)
		d.Write(at, rows)
		d.Write(dst, make([]int32, n))
		d.Pick(dst, src, at)
		if slices.Contains(known(dst), 0) {
			t.Error("the host believes that it knows what was picked")
		}
		if err := d.Read(got, dst); err != nil || !slices.Equal(got, want) {
			t.Errorf("picked %v, %v, want %v", got, err, want)
		}
	})
}
