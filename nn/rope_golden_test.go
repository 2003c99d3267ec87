package nn

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"hone/device/devicetest"
)

// TestFrequenciesOfTransformers: every rope_type gives what ROPE_INIT_FUNCTIONS of transformers do, which
// compute in float32 (testdata/gen/rope.py).
func TestFrequenciesOfTransformers(t *testing.T) {
	text, err := os.ReadFile("../testdata/golden/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name            string
		Config          json.RawMessage
		HeadDim         int `json:"head_dim"`
		Length          int
		InvFreq         []float64 `json:"inv_freq"`
		AttentionFactor float64   `json:"attention_factor"`
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range cases {
		var positions struct {
			Max int `json:"max_position_embeddings"`
		}
		if err := json.Unmarshal(c.Config, &positions); err != nil {
			t.Fatal(err)
		}
		r, err := ReadRope(c.Config, RopeDefaults{HeadDim: c.HeadDim, MaxPositions: positions.Max})
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		seen[r.Type] = true
		got := r.frequencies(r.regime(c.Length))
		if len(got) != len(c.InvFreq) || math.Abs(r.scale()/c.AttentionFactor-1) > 1e-6 {
			t.Errorf("%s: %d frequencies and a factor of %v, want %d and %v", c.Name, len(got), r.scale(), len(c.InvFreq), c.AttentionFactor)
			continue
		}
		for i, want := range c.InvFreq {
			if math.Abs(got[i]/want-1) > 2e-6 {
				t.Errorf("%s: pair %d turns by %v, want %v", c.Name, i, got[i], want)
			}
		}
	}
	for _, kind := range ropeTypes {
		if !seen[kind] {
			t.Errorf("the golden file has no rope_type %s", kind)
		}
	}
}

// TestRotate: a pair of channels half a head apart turns by its frequency times the position, each head
// alike; channels that are not rotated stay.
func TestRotate(t *testing.T) {
	dev := devicetest.NewReference()
	for _, c := range []struct {
		config  string
		d, half int // channels of a head, and rotated pairs of them
	}{
		{`{}`, 8, 4}, {`{"partial_rotary_factor":0.5}`, 8, 2}, {`{"partial_rotary_factor":0.25,"rope_theta":7}`, 16, 2},
		{`{"rope_parameters":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":32,"rope_theta":50}}`, 8, 4},
	} {
		config, err := ReadRope([]byte(c.config), RopeDefaults{HeadDim: c.d, MaxPositions: 128})
		if err != nil {
			t.Fatal(err)
		}
		r := NewRope(config, dev)
		b := newBench(t, dev)
		const heads, n = 3, 5
		x := b.numbers(n, heads*c.d)
		in := b.input([]int32{7, 8, 9, 0, 1}, 3, 2)
		got := b.values(r.At(in).Rotate(b.tape.Floats(x, n, heads*c.d), heads))
		want, f := make([]float64, len(x)), config.frequencies(0)
		for row, p := range in.positions {
			for h := range heads {
				head := x[(row*heads+h)*c.d:][:c.d]
				to := want[(row*heads+h)*c.d:][:c.d]
				for i := range head {
					to[i] = float64(head[i])
				}
				for i := range c.half {
					s, co := math.Sincos(float64(p) * f[i])
					a, z := float64(head[i]), float64(head[i+c.half])
					to[i], to[i+c.half] = config.scale()*(a*co-z*s), config.scale()*(z*co+a*s)
				}
			}
		}
		near(t, c.config, got, want, 1e-6)
		b.end()
		r.Free()
	}
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}
