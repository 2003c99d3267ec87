package nn

import (
	"math"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/tensor"
)

// shaped is a model that says it has another shape.
type shaped struct {
	*tiny
	shape Shape
}

func (s shaped) Shape() Shape { return s.shape }

// TestRoomForVirtualTokens: they are taken from positions where these have an end, and from the length before
// long factors, of which at least one token is left: 0 would mean never.
func TestRoomForVirtualTokens(t *testing.T) {
	for _, c := range []struct{ positions, long, wantPositions, wantLong int }{{0, 0, 0, 0}, {64, 0, 62, 0}, {64, 9, 62, 7}, {64, 1, 62, 1}} {
		v := Virtual{Model: shaped{shape: Shape{MaxPositions: c.positions, LongAfter: c.long}}, Tokens: 2}
		s := v.Shape()
		if s.MaxPositions != c.wantPositions || s.LongAfter != c.wantLong || s.Virtual != 2 {
			t.Errorf("%d positions, long after %d: shape %+v", c.positions, c.long, s)
		}
	}
}

// TestRopeAtTheEdges: what a config.json may just say, and what it may just not.
func TestRopeAtTheEdges(t *testing.T) {
	d := RopeDefaults{HeadDim: 8, MaxPositions: 64}
	for config, ok := range map[string]bool{
		`{"rope_theta":1}`: true,
		`{"rope_scaling":{"rope_type":"yarn","factor":2},"rope_theta":1}`:                                                                                       false,
		`{"rope_scaling":{"rope_type":"yarn","factor":2,"original_max_position_embeddings":1}}`:                                                                 true,
		`{"rope_scaling":{"rope_type":"yarn","factor":2,"original_max_position_embeddings":-1}}`:                                                                false,
		`{"rope_scaling":{"rope_type":"longrope","factor":2,"original_max_position_embeddings":2,"short_factor":[1,1,1,1],"long_factor":[1,1,1,1]}}`:            true,
		`{"rope_scaling":{"rope_type":"longrope","factor":2,"original_max_position_embeddings":1,"short_factor":[1,1,1,1],"long_factor":[1,1,1,1]}}`:            false,
		`{"rope_scaling":null,"rope_parameters":{"rope_type":"linear","factor":0}}`:                                                                             false,
		`{"rope_scaling":null,"rope_parameters":{"rope_type":"linear","factor":2}}`:                                                                             true,
		`{"original_max_position_embeddings":-3,"rope_scaling":{"rope_type":"linear","factor":2}}`:                                                              true,
		`{"original_max_position_embeddings":-3,"rope_scaling":{"rope_type":"longrope","factor":2,"short_factor":[1,1,1,1],"long_factor":[1,1,1,1]}}`:           false,
		`{"rope_scaling":{"rope_type":"longrope","factor":2,"original_max_position_embeddings":2,"short_factor":[1,1,1,1],"long_factor":[1,1,1,1],"other":[]}}`: true,
	} {
		if _, err := ReadRope([]byte(config), d); (err == nil) != ok {
			t.Errorf("%s: %v", config, err)
		}
	}
	if _, err := ReadRope([]byte(`{}`), RopeDefaults{HeadDim: 9, MaxPositions: 64}); err == nil {
		t.Error("heads of 9 channels are rotated in pairs")
	}
	if err := (&RopeConfig{Type: "default", Theta: math.Inf(1), Partial: 1, HeadDim: 8}).check(); err == nil || !strings.Contains(err.Error(), "rope_theta") {
		t.Errorf("a theta of Inf: %v", err)
	}
}

// TestShortSequencesAreNotScaled: dynamic scaling does nothing to a sequence within the context of pre-training.
func TestShortSequencesAreNotScaled(t *testing.T) {
	d := RopeDefaults{HeadDim: 8, MaxPositions: 64}
	plain, err := ReadRope([]byte(`{}`), d)
	if err != nil {
		t.Fatal(err)
	}
	dynamic, err := ReadRope([]byte(`{"rope_scaling":{"rope_type":"dynamic","factor":4}}`), d)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := dynamic.frequencies(dynamic.regime(64)), plain.frequencies(0); !slices.Equal(got, want) {
		t.Errorf("frequencies %v, want %v", got, want)
	}
}

// TestScaleOfYaRN: without mscale what mscale_all_dim says counts for nothing, as in transformers.
func TestScaleOfYaRN(t *testing.T) {
	one := RopeConfig{Type: "yarn", Factor: 4}
	other := one
	other.MScaleAllDim = 2
	if want := 0.1*math.Log(4) + 1; one.scale() != want || other.scale() != want {
		t.Errorf("scales %v and %v, want %v", one.scale(), other.scale(), want)
	}
	if other.MScale = 2; other.scale() != 1 {
		t.Errorf("the scale is %v, want 1", other.scale())
	}
}

// TestScaleOfLongRoPE: a context that did not grow changes no scores.
func TestScaleOfLongRoPE(t *testing.T) {
	for factor, want := range map[float64]float64{0.5: 1, 1: 1, 1.5: math.Sqrt(1 + math.Log(1.5)/math.Log(64)), 4: math.Sqrt(1 + math.Log(4)/math.Log(64))} {
		c := RopeConfig{Type: "longrope", Factor: factor, Original: 64}
		if got := c.scale(); math.Abs(got-want) > 1e-15 {
			t.Errorf("the scale of factor %v is %v, want %v", factor, got, want)
		}
	}
}

// TestMakeWithinBounds: what is drawn between bounds is random too.
func TestMakeWithinBounds(t *testing.T) {
	dev := devicetest.NewReference()
	p := &Param{Tensor: tensor.NewParam(3), Init: Init{Bound: 0.5, Value: 2}}
	Make([]Named{{Name: "p", Param: p}}, dev, device.F32, func(b device.Buffer) { dev.Fill(b, 7) })
	if v, err := p.Float32s(); err != nil || !slices.Equal(v, []float32{7, 7, 7}) {
		t.Errorf("%v, %v", v, err)
	}
}

// TestCopyOfAFullSlot: the last slot, full to its end, is copied and nothing beside it.
func TestCopyOfAFullSlot(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	c := NewCache(dev, device.F32, m.Shape(), 3, 4)
	defer c.Free()
	feed(t, m, dev, c, []int{2, 1}, texts[0][:4], texts[2][5:8])
	c.Copy(0, 2, 4)
	want := hidden(t, m, dev, texts[2][5:9])[0]
	if got := feed(t, m, dev, c, []int{1}, texts[2][8:9])[0]; !slices.Equal(got, want[3*tinyC:]) {
		t.Error("the slot beside a copy is another")
	}
}

// TestRowsOfSomeSequences: sequences that begin as others and of which no row is asked for change nothing.
func TestRowsOfSomeSequences(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	batch := [][]int32{texts[0], texts[0], texts[0], texts[3]}
	all := slices.Concat(hidden(t, m, dev, batch...)...)
	rows := []int32{20, 21} // the last of the third, and the fourth
	got := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return HiddenAt(m, packed(tape, batch...), rows) })
	if want := all[20*tinyC:]; !slices.Equal(got, want) {
		t.Errorf("rows %v are %v, want %v", rows, got, want)
	}
}

// fullDevice is a processor that has no room for the n-th weight to be arranged.
type fullDevice struct {
	*cpu.Device
	left int
}

func (d *fullDevice) Arrange(b device.Buffer, k, n int, transB bool) (device.Arranged, bool) {
	if d.left--; d.left < 0 {
		panic(&device.OutOfMemory{})
	}
	return d.Device.Arrange(b, k, n, transB)
}

// TestArrangeOnAFullDevice: copies that were made before there was no more room are given back.
func TestArrangeOnAFullDevice(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	Free(Params(m))
	full := &fullDevice{Device: dev.(*cpu.Device), left: 3}
	Initialize(Params(m), full, device.F32, 1)
	before := dev.Memory().InUse
	func() {
		defer func() {
			if _, ok := recover().(*device.OutOfMemory); !ok {
				t.Error("there was room")
			}
		}()
		ArrangeBeside(m)
	}()
	if now := dev.Memory().InUse; now != before {
		t.Errorf("%d bytes are left", now-before)
	}
}

// withoutCodes is a device that has no room for weights in few bits.
type withoutCodes struct{ *devicetest.Reference }

func (d withoutCodes) Alloc(n int, t device.DType) device.Buffer {
	if t == device.U8 {
		panic(&device.OutOfMemory{})
	}
	return d.Reference.Alloc(n, t)
}

// TestPackOnAFullDevice: values that were drawn to be packed are given back when there is no room for the packed ones.
func TestPackOnAFullDevice(t *testing.T) {
	dev := withoutCodes{devicetest.NewReference()}
	l := NewLinear(64, 64, false, 0.5)
	l.Weight.Storage = device.Int8
	err := tensor.Try(func() { Initialize(Params(l), dev, device.F32, 1) })
	if left := dev.Memory().InUse; err == nil || left != 0 {
		t.Errorf("%d bytes are left, with the error %v", left, err)
	}
}
