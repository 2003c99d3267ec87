package gguf

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"hone/safetensors"
)

func vectors(t *testing.T) *safetensors.Archive {
	t.Helper()
	a, err := safetensors.Open(filepath.Join(golden, "vectors.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func data(t *testing.T, a *safetensors.Archive, name string) []byte {
	t.Helper()
	x, ok := a.Tensor(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return x.Data
}

func floats(t *testing.T, b []byte) []float32 {
	t.Helper()
	v := make([]float32, len(b)/4)
	if err := Decode(v, b, F32); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestDecode wants the reference's numbers, to the bit, for blocks of random bits.
func TestDecode(t *testing.T) {
	a := vectors(t)
	for _, typ := range []Type{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K} {
		want := floats(t, data(t, a, "values."+typ.String()))
		got := make([]float32, len(want))
		if err := Decode(got, data(t, a, "random."+typ.String()), typ); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) && got[i] != want[i] { // 0 and -0 are one
				t.Fatalf("%v: element %d is %v, want %v", typ, i, got[i], want[i])
			}
		}
	}
}

// TestEncode wants the reference's bytes.
func TestEncode(t *testing.T) {
	a := vectors(t)
	source := floats(t, data(t, a, "source"))
	for _, typ := range []Type{F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K} {
		want := data(t, a, "encoded."+typ.String())
		got := make([]byte, len(want))
		if err := Encode(got, source, typ); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			_, size := typ.Block()
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%v: byte %d of block %d is %d, want %d", typ, i%size, i/size, got[i], want[i])
					break
				}
			}
		}
	}
}

// TestError bounds what each type loses of normal weights, by the root mean square, and wants more bits to lose less.
func TestError(t *testing.T) {
	x := make([]float32, 1<<14)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)*1.7) * math.Cos(float64(i*i)) / 20)
	}
	last := math.Inf(1)
	for _, c := range []struct {
		typ   Type
		bound float64
	}{{Q4_0, 0.1}, {Q4_1, 0.09}, {Q4_K, 0.07}, {Q5_K, 0.035}, {Q6_K, 0.02}, {Q8_0, 0.006}, {BF16, 0.0025}, {F16, 0.0003}, {F32, 0}} {
		elements, size := c.typ.Block()
		b, y := make([]byte, len(x)/elements*size), make([]float32, len(x))
		if err := Encode(b, x, c.typ); err != nil {
			t.Fatal(err)
		}
		if err := Decode(y, b, c.typ); err != nil {
			t.Fatal(err)
		}
		var diff, norm float64
		for i := range x {
			diff += float64(x[i]-y[i]) * float64(x[i]-y[i])
			norm += float64(x[i]) * float64(x[i])
		}
		rms := math.Sqrt(diff / norm)
		if rms > c.bound || rms >= last && rms > 0 {
			t.Errorf("%v loses %.4f, want at most %.4f and less than the type before, %.4f", c.typ, rms, c.bound, last)
		}
		last = rms
	}
}

func TestConvertRefuses(t *testing.T) {
	if Decode(make([]float32, 31), make([]byte, 34), Q8_0) == nil || Decode(make([]float32, 32), make([]byte, 33), Q8_0) == nil ||
		Decode(make([]float32, 1), make([]byte, 4), I32) == nil || Encode(make([]byte, 84), make([]float32, 256), Q2_K) == nil {
		t.Error("sizes or types that do not fit were accepted")
	}
	if typ, err := parseType("q4_k"); err != nil || typ != Q4_K {
		t.Errorf("q4_k is %v, %v", typ, err)
	}
	if _, err := parseType("q9"); err == nil {
		t.Error("q9 is a type")
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, typ := range []Type{Q4_1, Q8_0, Q4_K, Q6_K, F16} {
		b.Run(typ.String(), func(b *testing.B) {
			elements, size := typ.Block()
			const n = 1 << 22
			src, dst := make([]byte, n/elements*size), make([]float32, n)
			b.SetBytes(4 * n)
			for b.Loop() {
				if err := Decode(dst, src, typ); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, typ := range []Type{Q8_0, Q4_K, Q6_K} {
		b.Run(typ.String(), func(b *testing.B) {
			elements, size := typ.Block()
			const n = 1 << 20
			dst, src := make([]byte, n/elements*size), make([]float32, n)
			for i := range src {
				src[i] = float32(i%97) - 48
			}
			b.SetBytes(4 * n)
			for b.Loop() {
				if err := Encode(dst, src, typ); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// parseType is the type of a name such as "q4_k", in either case.
func parseType(name string) (Type, error) {
	for t, l := range layouts {
		if strings.EqualFold(l.name, name) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("element type %q is unknown", name)
}
