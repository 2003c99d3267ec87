package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu/vec"
	"hone/generate"
)

// TestSample draws on the device what the host draws, by every kernel and over several pieces of a row.
func TestSample(t *testing.T) {
	eachPath(t, func(t *testing.T, path vec.Path) {
		v := newRigOn(t, 2, path)
		r := rand.New(rand.NewPCG(1, 2))
		for i, temperature := range []float64{1, 0.7, 3, 1e-40, 0} {
			o := generate.Sampling{Temperature: temperature, TopP: 1, RepetitionPenalty: 1, Seed: uint64(i)}
			for _, n := range []int{1, 7, 1023, 1024, 1025, 2048, 2600} {
				checkSample(v, o, n, sampleRows(r, n))
			}
		}
		for _, s := range []device.Sample{{Temperature: 1, TopP: 0.9}, {Temperature: 1, TopP: 1, TopK: 5}, {Temperature: 1, TopP: 1, MinP: 0.1}} {
			if v.Draws(s) {
				t.Errorf("the device draws by the host's settings %+v", s)
			}
		}
	})
}

func checkSample(v rig, o generate.Sampling, n int, rows [][]float32) {
	s := device.Sample{V: n, Logits: v.Alloc(n*len(rows), device.F32), Random: v.Alloc(2*len(rows), device.I32), IDs: v.Alloc(len(rows), device.I32),
		Temperature: o.Temperature, TopP: o.TopP}
	defer v.Free(s.Logits)
	defer v.Free(s.Random)
	defer v.Free(s.IDs)
	v.Write(s.Logits, slices.Concat(rows...))
	var random []int32
	for i := range rows {
		bits := generate.Bits(o.Seed, uint64(i), 3)
		random = append(random, int32(bits), int32(bits>>32))
	}
	v.Write(s.Random, random)
	if !v.Draws(s) {
		v.t.Fatalf("the device does not draw by %+v", o)
	}
	v.Sample(s)
	sampler, got := generate.NewSampler(o), i32s(s.IDs)
	for i, row := range rows {
		want, err := sampler.Pick(slices.Clone(row), nil, uint64(i), 3)
		if err != nil {
			want = -1
		}
		if got[i] != want {
			v.t.Errorf("temperature %g: token %d of %d in row %d, want %d", o.Temperature, got[i], n, i, want)
		}
	}
}

// sampleRows are rows of logits: many usual ones, ones with equals, far apart, and ones that are not finite.
func sampleRows(r *rand.Rand, n int) [][]float32 {
	inf := float32(math.Inf(1))
	var rows [][]float32
	for _, f := range []func() float32{
		func() float32 { return float32(3 * r.NormFloat64()) },
		func() float32 { return float32(0.1 * r.NormFloat64()) },
		func() float32 { return float32(40 * r.NormFloat64()) },
		func() float32 { return []float32{1, -inf, -200}[r.IntN(3)] },
		func() float32 { return 2 },
	} {
		for range 4 {
			row := make([]float32, n)
			for i := range row {
				row[i] = f()
			}
			rows = append(rows, row)
		}
	}
	for _, bad := range []float32{inf, float32(math.NaN())} {
		row := slices.Clone(rows[0])
		row[r.IntN(n)] = bad
		rows = append(rows, row)
	}
	none := make([]float32, n)
	for i := range none {
		none[i] = -inf
	}
	return append(rows, none)
}

// TestWeightsAreTheSameEverywhere: these bits are those of single operations, each rounded. A processor that fuses a multiplication with an
// addition would have others, and draw other tokens.
func TestWeightsAreTheSameEverywhere(t *testing.T) {
	const want uint64 = 0xe6bdba650b11daa5
	sum := uint64(0)
	for i := range 1 << 16 {
		sum = sum*31 + uint64(math.Float32bits(device.Weight(-float32(i)/820)))
	}
	if sum != want {
		t.Errorf("a checksum of weights is %#x, want %#x", sum, want)
	}
}
