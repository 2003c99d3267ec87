package safetensors

import (
	"encoding/binary"
	"testing"

	"hone/internal/half"
)

func TestConversions(t *testing.T) {
	src := make([]float32, 3000) // more than one piece
	for i := range src {
		src[i] = float32(i-1500) / 8
	}
	for _, d := range []DType{F64, F32, F16, BF16} {
		b := make([]byte, len(src)*d.Size())
		FromFloat32(b, src, d)
		back := make([]float32, len(src))
		ToFloat32(back, b, d)
		short := make([]uint16, len(src))
		ToBFloat16(short, b, d)
		for i := range src {
			if d != BF16 && back[i] != src[i] {
				t.Fatalf("%v: %v came back as %v", d, src[i], back[i])
			}
			if want := half.BFromFloat32(src[i]); short[i] != want {
				t.Fatalf("%v: bfloat16 of %v is %#04x, want %#04x", d, src[i], short[i], want)
			}
		}
		if d == BF16 && binary.LittleEndian.Uint16(b[2:]) != half.BFromFloat32(src[1]) {
			t.Error("bfloat16 bytes")
		}
	}
	for _, misuse := range []func(){
		func() { ToFloat32(make([]float32, 1), make([]byte, 4), I32) },
		func() { ToFloat32(make([]float32, 1), make([]byte, 3), F32) },
		func() { FromFloat32(make([]byte, 4), make([]float32, 1), BF16) },
		func() { ToBFloat16(make([]uint16, 2), make([]byte, 2), BF16) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("misuse did not panic")
				}
			}()
			misuse()
		}()
	}
}
