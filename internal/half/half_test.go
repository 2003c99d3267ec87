package half

import (
	"math"
	"testing"
)

// float16Value computes a float16 from the definition.
func float16Value(h uint16) float64 {
	sign := 1 - 2*float64(h>>15)
	e, f := int(h>>10&31), float64(h&1023)
	switch e {
	case 0:
		return sign * math.Ldexp(f, -24)
	case 31:
		if f != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+f, e-25)
}

func same(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}

func TestFloat16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		want := float16Value(h)
		f := ToFloat32(h)
		if !same(float64(f), want) {
			t.Fatalf("%#04x: got %v, want %v", h, f, want)
		}
		if back := FromFloat32(f); back != h && (want == want || float16Value(back) == float16Value(back)) {
			t.Fatalf("%#04x went to %v and back to %#04x", h, f, back)
		}
	}
	// Between two neighbours: the nearer one, the even one in the middle.
	for h := uint16(0); h < 0x7c00; h++ {
		lo, hi := float16Value(h), float16Value(h+1)
		if h == 0x7bff {
			hi = 65536
		}
		mid := float32((lo + hi) / 2)
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, 0), h}, {math.Nextafter32(mid, math.MaxFloat32), h + 1}} {
			if got := FromFloat32(c.f); got != c.want {
				t.Fatalf("%v: got %#04x, want %#04x", c.f, got, c.want)
			}
			if got := FromFloat32(-c.f); got != c.want|0x8000 {
				t.Fatalf("%v: got %#04x, want %#04x", -c.f, got, c.want|0x8000)
			}
		}
	}
}

func TestBFloat16(t *testing.T) {
	value := bfloat16Value
	for i := range 1 << 16 {
		h := uint16(i)
		back := BFromFloat32(float32(value(h)))
		if back != h && (value(h) == value(h) || value(back) == value(back)) {
			t.Fatalf("%#04x came back as %#04x", h, back)
		}
	}
	for h := uint16(0); h < 0x7f80; h++ {
		lo, hi := value(h), value(h+1)
		if h == 0x7f7f {
			hi = math.Ldexp(1, 128)
		}
		mid := (lo + hi) / 2
		for _, c := range []struct {
			x    float64
			want uint16
		}{{mid, h + h&1}, {math.Nextafter(mid, 0), h}, {math.Nextafter(mid, math.Inf(1)), h + 1}} {
			if got := BFromFloat64(c.x); got != c.want {
				t.Fatalf("float64 %v: got %#04x, want %#04x", c.x, got, c.want)
			}
			if got := BFromFloat64(-c.x); got != c.want|0x8000 {
				t.Fatalf("float64 %v: got %#04x, want %#04x", -c.x, got, c.want|0x8000)
			}
			if f := float32(c.x); float64(f) == c.x && BFromFloat32(f) != c.want {
				t.Fatalf("float32 %v: got %#04x, want %#04x", f, BFromFloat32(f), c.want)
			}
		}
	}
	if h := BFromFloat64(math.NaN()); value(h) == value(h) {
		t.Errorf("NaN became %#04x", h)
	}
	if h := BFromFloat32(math.Float32frombits(0x7f800001)); value(h) == value(h) {
		t.Errorf("a NaN with its bits at the bottom became %#04x", h)
	}
}

// TestBRows: rows of all bfloat16 come back as they were, but that a NaN becomes a quiet one.
func TestBRows(t *testing.T) {
	all, wide := make([]uint16, 1<<16), make([]float32, 1<<16+1)
	for i := range all {
		all[i] = uint16(i)
	}
	BWiden(wide, all)
	back := make([]uint16, 1<<16+1)
	BRound(back, wide[:1<<16])
	for i, h := range all {
		want := h
		if h&0x7fff > 0x7f80 {
			want |= 0x40
		}
		if float64(wide[i]) != bfloat16Value(h) && wide[i] == wide[i] || back[i] != want {
			t.Fatalf("%#04x is %v and comes back as %#04x", h, wide[i], back[i])
		}
	}
}

// bfloat16Value is a bfloat16 from the definition.
func bfloat16Value(h uint16) float64 {
	if e := int(h >> 7 & 255); e == 0 {
		return (1 - 2*float64(h>>15)) * math.Ldexp(float64(h&127), -133)
	} else if e < 255 {
		return (1 - 2*float64(h>>15)) * math.Ldexp(float64(h&127|128), e-134)
	} else if h&127 == 0 {
		return (1 - 2*float64(h>>15)) * math.Inf(1)
	}
	return math.NaN()
}
