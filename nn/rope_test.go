package nn

import (
	"math"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/tensor"
)

// TestReadRope: both layouts of config.json say the same, and what stands deeper wins.
func TestReadRope(t *testing.T) {
	d := RopeDefaults{HeadDim: 8, MaxPositions: 64}
	for name, c := range map[string]struct {
		config string
		want   RopeConfig
	}{
		"nothing":         {`{}`, RopeConfig{Type: "default", Theta: 10000, Partial: 1, Original: 64}},
		"v4":              {`{"rope_theta":5,"rope_scaling":null,"partial_rotary_factor":0.5}`, RopeConfig{Type: "default", Theta: 5, Partial: 0.5, Original: 64}},
		"v5":              {`{"rope_parameters":{"rope_type":"default","rope_theta":5,"partial_rotary_factor":0.5}}`, RopeConfig{Type: "default", Theta: 5, Partial: 0.5, Original: 64}},
		"v4, type":        {`{"rope_theta":5,"rope_scaling":{"type":"linear","factor":2}}`, RopeConfig{Type: "linear", Theta: 5, Factor: 2, Partial: 1, Original: 64}},
		"deeper wins":     {`{"rope_theta":5,"partial_rotary_factor":0.25,"rope_parameters":{"rope_theta":7,"partial_rotary_factor":0.5}}`, RopeConfig{Type: "default", Theta: 7, Partial: 0.5, Original: 64}},
		"original on top": {`{"original_max_position_embeddings":16,"rope_scaling":{"rope_type":"yarn","factor":null,"original_max_position_embeddings":8}}`, RopeConfig{Type: "yarn", Theta: 10000, Factor: 4, Partial: 1, Original: 16}},
		"an empty group":  {`{"rope_scaling":{},"rope_parameters":{"rope_type":"linear","factor":2,"rope_theta":3}}`, RopeConfig{Type: "linear", Theta: 3, Factor: 2, Partial: 1, Original: 64}},
		"yarn with lists": {`{"rope_scaling":{"type":"yarn","factor":2,"short_factor":[1,1,1,1],"long_factor":[2,2,2,2]}}`, RopeConfig{Type: "yarn", Theta: 10000, Factor: 2, Partial: 1, Original: 64}},
	} {
		got, err := ReadRope([]byte(c.config), d)
		c.want.HeadDim, c.want.MaxPositions = 8, 64
		if err != nil || got.Type != c.want.Type || got.Theta != c.want.Theta || got.Factor != c.want.Factor || got.Partial != c.want.Partial ||
			got.Original != c.want.Original || got.HeadDim != 8 || got.MaxPositions != 64 {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	d.OldTypes, d.Original = map[string]string{"su": "longrope", "yarn": "longrope"}, 32
	for _, old := range []string{"su", "yarn"} { // early spellings of Phi-3
		got, err := ReadRope([]byte(`{"original_max_position_embeddings":16,"rope_scaling":{"type":"`+old+`","short_factor":[1,1,1,1],"long_factor":[2,2,2,2]}}`), d)
		if err != nil || got.Type != "longrope" || got.Factor != 4 || got.LongAfter() != 16 {
			t.Errorf("%s: got %+v, %v", old, got, err)
		}
		got, err = ReadRope([]byte(`{"rope_scaling":{"type":"`+old+`","original_max_position_embeddings":8,"short_factor":[1,1,1,1],"long_factor":[2,2,2,2]}}`), d)
		if err != nil || got.LongAfter() != 32 { // the architecture's own key wins by its default, too
			t.Errorf("%s, original in the group: got %+v, %v", old, got, err)
		}
	}
}

// TestYarnsOptions: what is said as it would be anyway changes nothing, and mscale counts beside mscale_all_dim alone.
func TestYarnsOptions(t *testing.T) {
	yes, no := true, false
	plain := RopeConfig{Type: "yarn", Theta: 10000, Partial: 1, Factor: 4, Original: 32, HeadDim: 16, MaxPositions: 128}
	said, whole := plain, plain
	said.Truncate, whole.Truncate = &yes, &no
	if f := plain.frequencies(0); !slices.Equal(f, said.frequencies(0)) || slices.Equal(f, whole.frequencies(0)) {
		t.Errorf("frequencies %v, with truncate %v, without %v", f, said.frequencies(0), whole.frequencies(0))
	}
	// of two pairs the first is kept; the ramp of the second begins at channel 0 at the earliest and
	// ends at channel 3 at the latest
	for original, second := range map[int]float64{6: 1.0 / 4, 8: 1.0 / 4, 400: 1 - 1.0/3 + 1.0/3/4} {
		c := RopeConfig{Type: "yarn", Theta: 10, Partial: 1, Factor: 4, Original: original, HeadDim: 4, MaxPositions: 4 * original}
		if f := c.frequencies(0); f[0] != 1 || math.Abs(f[1]-second/math.Sqrt(10)) > 1e-12 {
			t.Errorf("of %d positions: frequencies %v, want 1 and %v", original, f, second/math.Sqrt(10))
		}
	}
	one, both := plain, plain
	one.MScale, both.MScale, both.MScaleAllDim = 2, 2, 0.5
	want := (0.2*math.Log(4) + 1) / (0.05*math.Log(4) + 1)
	if one.scale() != plain.scale() || math.Abs(both.scale()-want) > 1e-12 {
		t.Errorf("scales %v, with mscale %v, with both %v", plain.scale(), one.scale(), both.scale())
	}
}

// TestTableReachesTheLongest sequence of a batch, wherever it stands, also beyond the context.
func TestTableReachesTheLongest(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	tape := tensor.NewTape(dev, device.F32)
	tape.Infer()
	if rows := m.rope.At(packed(tape, make([]int32, 2*tinyPositions), []int32{1})).table.Cos.Rows(); rows < 2*tinyPositions {
		t.Errorf("a table of %d positions for %d tokens", rows, 2*tinyPositions)
	}
	tape.Reset()
}

func TestReadRopeRefuses(t *testing.T) {
	for config, want := range map[string]string{
		`{"rope_scaling":"x"}`:        "read rope_parameters of config.json: it is no group of keys and values; is config.json damaged?",
		`{"rope_scaling":{"type":4}}`: "read rope_parameters of config.json: config key type is of the wrong type (number); is config.json damaged?",

		`{"rope_scaling":3}`:                      "rope_parameters",
		`{"rope_scaling":{"rope_type":"spiral"}}`: `rope_type "spiral" is not supported; hone knows`,
		`{"rope_scaling":{"type":"su","factor":2,"short_factor":[1,1,1,1],"long_factor":[1,1,1,1]}}`: `rope_type "su" is not supported`,
		`{"rope_parameters":{"sliding_attention":{"rope_theta":3}}}`:                                 "it has an entry for sliding_attention",
		`{"rope_parameters":{"rope_theta":3,"full_attention":null}}`:                                 "it has an entry for full_attention",
		`{"rope_scaling":{"rope_type":"linear"}}`:                                                    "positive factor",
		`{"rope_theta":-1}`:                                                                "rope_theta is -1",
		`{"partial_rotary_factor":2}`:                                                      "partial_rotary_factor 2",
		`{"partial_rotary_factor":0.1}`:                                                    "partial_rotary_factor 0.1",
		`{"rope_scaling":{"rope_type":"llama3","factor":8}}`:                               "low_freq_factor",
		`{"rope_scaling":{"rope_type":"longrope","short_factor":[1]}}`:                     "short_factor",
		`{"rope_scaling":{"rope_type":"dynamic","factor":2},"partial_rotary_factor":0.25}`: "more than one pair",
		`{"rope_scaling":{"rope_type":"longrope","factor":2,"short_factor":[1,1,1,1],"long_factor":[1,1,1,0]}}`: "long_factor",
	} {
		if _, err := ReadRope([]byte(config), RopeDefaults{HeadDim: 8, MaxPositions: 64}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", config, err, want)
		}
	}
}

// rotated is what a rope makes of rows of ones in sequences of the given lengths.
func rotated(t *testing.T, r *Rope, dev device.Device, lengths ...int) [][]float32 {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Infer()
	offsets, positions := []int32{0}, []int32{}
	for _, n := range lengths {
		for p := range n {
			positions = append(positions, int32(p))
		}
		offsets = append(offsets, int32(len(positions)))
	}
	ones := make([]float32, len(positions)*r.HeadDim)
	for i := range ones {
		ones[i] = 1
	}
	at := r.At(NewInput(tape, positions, positions, offsets))
	v, err := at.Rotate(tape.Floats(ones, len(positions), r.HeadDim), 1).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]float32
	for s := range lengths {
		out = append(out, v[int(offsets[s])*r.HeadDim:int(offsets[s+1])*r.HeadDim])
	}
	return out
}

// TestRotationOfPacks: a sequence is rotated in a batch as it is alone, however long its neighbours are.
func TestRotationOfPacks(t *testing.T) {
	dev := devicetest.NewReference()
	for _, config := range []string{
		`{"rope_scaling":{"rope_type":"longrope","original_max_position_embeddings":8,"short_factor":[1,1],"long_factor":[2,5]}}`,
		`{"rope_scaling":{"rope_type":"dynamic","factor":4}}`,
		`{"rope_scaling":{"rope_type":"linear","factor":4}}`,
	} {
		c, err := ReadRope([]byte(config), RopeDefaults{HeadDim: 4, MaxPositions: 8})
		if err != nil {
			t.Fatal(err)
		}
		r := NewRope(c, dev)
		lengths := []int{3, 12, 8, 9, 20}
		for s, got := range rotated(t, r, dev, lengths...) {
			if want := rotated(t, r, dev, lengths[s])[0]; !slices.Equal(got, want) {
				t.Errorf("%s: a sequence of %d is rotated otherwise in a batch", c.Type, lengths[s])
			}
		}
		short, long := rotated(t, r, dev, 8)[0], rotated(t, r, dev, 9)[0][:32]
		if slices.Equal(short, long) != (c.Type == "linear") {
			t.Errorf("%s: the first tokens of a short and a long sequence: %v and %v", c.Type, short, long)
		}
		r.Free()
	}
	if n := dev.Memory().InUse; n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestRopeTableGrows: positions beyond the first table get a longer one with the same angles.
func TestRopeTableGrows(t *testing.T) {
	dev := devicetest.NewReference()
	c, err := ReadRope([]byte(`{}`), RopeDefaults{HeadDim: 2, MaxPositions: 3 * minTable})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRope(c, dev)
	defer r.Free()
	first := dev.Memory().InUse
	v := rotated(t, r, dev, 2*minTable+5)[0]
	for _, p := range []int{0, 1, minTable - 1, minTable, 2*minTable + 4} {
		s, c := math.Sincos(float64(p))
		if got, want := v[2*p:2*p+2], []float32{float32(c - s), float32(c + s)}; math.Abs(float64(got[0]-want[0])) > 1e-6 || math.Abs(float64(got[1]-want[1])) > 1e-6 {
			t.Errorf("position %d: got %v, want %v", p, got, want)
		}
	}
	if r.table(0, 5) != r.table(0, minTable+1) || first >= dev.Memory().InUse {
		t.Error("the longer table is not kept")
	}
}

// TestContext: where max_position_embeddings is the length of pre-training, scaling makes more positions.
func TestContext(t *testing.T) {
	for config, want := range map[string]int{
		`{}`: 64,
		`{"rope_scaling":{"rope_type":"linear","factor":4}}`:                                                    256,
		`{"rope_scaling":{"rope_type":"dynamic","factor":2}}`:                                                   128,
		`{"rope_scaling":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":64}}`:                256,
		`{"rope_scaling":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":16}}`:                64,
		`{"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4}}`:           64,
		`{"rope_scaling":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":16},"rope_theta":9}`: 64,
	} {
		c, err := ReadRope([]byte(config), RopeDefaults{HeadDim: 8, MaxPositions: 64})
		if err != nil || c.Context() != want {
			t.Errorf("%s: %d positions, %v; want %d", config, c.Context(), err, want)
		}
	}
}
