package gguf

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// TestTooLarge: a finite number is never stored as an infinite one. What a type can hold is said by its largest scale, a float16 of 65504.
func TestTooLarge(t *testing.T) {
	for typ, most := range map[Type]float32{F16: 65519, BF16: math.MaxFloat32 / 2, F32: math.MaxFloat32, Q4_0: 8 * 65504, Q5_0: 16 * 65504, Q8_0: 127 * 65504,
		Q4_1: 65504, Q5_1: 65504, Q4_K: 65504, Q5_K: 65504, Q6_K: 65504} {
		elements, size := typ.Block()
		n := 2 * max(elements, 256)
		src, dst := make([]float32, n), make([]byte, n/elements*size)
		src[n-7] = most
		if err := Encode(dst, src, typ); err != nil {
			t.Errorf("%v: %v", typ, err)
		}
		back := make([]float32, n)
		if err := Decode(back, dst, typ); err != nil {
			t.Fatal(err)
		}
		for i, v := range back {
			if v-v != 0 || math.Abs(float64(v-src[i])) > float64(most)/100 {
				t.Errorf("%v: element %d of %v came back as %v", typ, i, src[i], v)
			}
		}
		if typ == F32 || typ == BF16 {
			continue
		}
		for _, at := range []int{n - 7, 0} {
			src[at] = -1e12
			if err := Encode(dst, src, typ); err == nil || !strings.Contains(err.Error(), "-1e+12, which is too large for "+typ.String()) {
				t.Errorf("%v of -1e12 at %d: %v", typ, at, err)
			}
		}
	}
	far := make([]float32, 4*piece) // of several cores' parts the first is named
	far[2*piece+5], far[3*piece+5] = 1e12, 1e12
	if err := Encode(make([]byte, 2*len(far)), far, F16); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("near element %d is", 2*piece+5)) {
		t.Errorf("two numbers too large: %v", err)
	}
	inf := []float32{1, float32(math.Inf(1)), float32(math.NaN())}
	if err := Encode(make([]byte, 6), inf, F16); err != nil {
		t.Errorf("an infinite number is one of F16: %v", err)
	}
}

// q6 writes a block of Q6_K by the words of the format: 128 bytes of lower halves, 64 of upper pairs, 16 scales, a float16.
func q6(q func(i int) int, scales [16]int8, d uint16) []byte {
	b := make([]byte, 210)
	for i := range 256 {
		v := byte(q(i) + 32)
		half, in := i/128, i%128
		low := half*64 + in%64             // two numbers share a byte of lower halves
		b[low] |= v & 15 << (in / 64 * 4)  // the first 64 of a half below, the others above
		high := 128 + half*32 + in%32      // four share a byte of upper pairs
		b[high] |= v >> 4 << (in / 32 * 2) // in their order
	}
	for i, s := range scales {
		b[192+i] = byte(s)
	}
	le.PutUint16(b[208:], d)
	return b
}

// TestQ6ByHand decodes a block in which every number and scale is another: each has its own place.
func TestQ6ByHand(t *testing.T) {
	q := func(i int) int { return (i*37+i/16*11)%64 - 32 }
	var scales [16]int8
	for i := range scales {
		scales[i] = int8(i*17 - 128)
	}
	got := make([]float32, 256)
	if err := Decode(got, q6(q, scales, 0x3800), Q6_K); err != nil { // 0.5
		t.Fatal(err)
	}
	for i, v := range got {
		if want := 0.5 * float32(scales[i/16]) * float32(q(i)); v != want {
			t.Fatalf("element %d is %v, want %v", i, v, want)
		}
	}
}

// TestQ4ByHand does so for Q4_K, whose scales and offsets of 6 bits are packed into 12 bytes: of groups 4 to 7 the lower four bits stand in the last four
// bytes, and the upper two in the tops of the bytes of groups 0 to 3.
func TestQ4ByHand(t *testing.T) {
	scale, low := [8]byte{1, 63, 17, 32, 47, 5, 58, 33}, [8]byte{60, 2, 31, 44, 16, 63, 9, 34}
	b := make([]byte, 144)
	le.PutUint16(b, 0x3c00)     // 1
	le.PutUint16(b[2:], 0x3400) // 0.25
	for g := range 4 {
		b[4+g] = scale[g] | scale[g+4]>>4<<6
		b[8+g] = low[g] | low[g+4]>>4<<6
		b[12+g] = scale[g+4]&15 | low[g+4]<<4
	}
	q := func(i int) byte { return byte((i*7 + i/32*3) % 16) }
	for i := range 256 { // groups 2k and 2k+1 share bytes
		b[16+i/64*32+i%32] |= q(i) << (i / 32 % 2 * 4)
	}
	got := make([]float32, 256)
	if err := Decode(got, b, Q4_K); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if want := float32(scale[i/32])*float32(q(i)) - 0.25*float32(low[i/32]); v != want {
			t.Fatalf("element %d is %v, want %v", i, v, want)
		}
	}
}

// TestZerosAndTies: blocks of zeros stay zeros, and those of one value come back as it.
func TestZerosAndTies(t *testing.T) {
	for _, typ := range []Type{F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K} {
		elements, size := typ.Block()
		for _, value := range []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0x1p-4} {
			src, dst, back := make([]float32, elements), bytes.Repeat([]byte{0xaa}, size), make([]float32, elements)
			for i := range src {
				src[i] = value
			}
			if err := Encode(dst, src, typ); err != nil {
				t.Fatal(err)
			}
			if err := Decode(back, dst, typ); err != nil {
				t.Fatal(err)
			}
			for i, v := range back {
				if math.Abs(float64(v-value)) > math.Abs(float64(value))/50 {
					t.Errorf("%v: element %d of %v came back as %v", typ, i, value, v)
					break
				}
			}
		}
	}
}

// TestPieces converts and writes more than a core and a write take at a time: every element is in its place.
func TestPieces(t *testing.T) {
	n := 3*piece + 64
	if !testing.Short() {
		n += writePiece
	}
	src := make([]float32, n)
	for i := range src {
		src[i] = float32(i%251 - 125)
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	plan := []Info{{"a", Q8_0, []int{n}}, {"b", F16, []int{5}}}
	w, err := Create(path, nil, plan)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.WriteFloat32("a", src); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFloat32("b", src[:5]); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	for _, p := range plan {
		x, _ := f.Tensor(p.Name)
		got, err := x.Float32()
		if err != nil || len(got) != p.Elements() {
			t.Fatalf("%v: %d elements, %v", p, len(got), err)
		}
		for i, v := range got {
			if math.Abs(float64(v-src[i])) > 0.5 {
				t.Fatalf("%v: element %d is %v, want about %v", p, i, v, src[i])
			}
		}
	}
}

// TestBytesAreAFunctionOfNumbers: what was in the memory before does not show, and numbers too small for any scale are zeros on every processor.
func TestBytesAreAFunctionOfNumbers(t *testing.T) {
	src := make([]float32, 256)
	for _, scale := range []float32{1, 0x1p-130, 0x1p-149} { // the others are subnormal
		for i := range src {
			src[i] = float32(math.Round(10*math.Sin(float64(i*i)))) * scale
		}
		for _, typ := range []Type{F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K} {
			elements, size := typ.Block()
			clean, dirty := make([]byte, 256/elements*size), bytes.Repeat([]byte{0xff}, 256/elements*size)
			for _, dst := range [][]byte{clean, dirty} {
				if err := Encode(dst, src, typ); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(clean, dirty) {
				t.Errorf("%v: the bytes depend on what was there before", typ)
			}
			if typ == BF16 || scale == 1 {
				continue
			}
			back := make([]float32, 256)
			if err := Decode(back, clean, typ); err != nil {
				t.Fatal(err)
			}
			for i, v := range back {
				if v != 0 {
					t.Fatalf("%v: element %d of %v came back as %v", typ, i, src[i], v)
				}
			}
			if typ == Q8_0 && !bytes.Equal(clean[:34], make([]byte, 34)) {
				t.Errorf("%v of numbers near zero is %v", typ, clean[:34])
			}
		}
	}
}

// TestFirstOfTheFarthest: of two elements of one magnitude the first gives the scale its sign, as in the reference.
func TestFirstOfTheFarthest(t *testing.T) {
	for first, want := range map[float32]float32{8: -1, -8: 1} {
		src, dst := make([]float32, 32), make([]byte, 18)
		src[3], src[9] = first, -first
		if err := Encode(dst, src, Q4_0); err != nil || scale(dst) != want {
			t.Errorf("%v before %v: the scale is %v, want %v (%v)", first, -first, scale(dst), want, err)
		}
	}
}

// TestSizesOfData: a conversion takes whole blocks and as many bytes as they have.
func TestSizesOfData(t *testing.T) {
	for _, c := range []struct{ elements, bytes int }{{33, 34}, {32, 33}, {32, 68}, {64, 34}, {31, 34}, {1, 0}, {0, 34}} {
		if Decode(make([]float32, c.elements), make([]byte, c.bytes), Q8_0) == nil || Encode(make([]byte, c.bytes), make([]float32, c.elements), Q8_0) == nil {
			t.Errorf("%d elements and %d bytes are converted", c.elements, c.bytes)
		}
	}
	if err := Decode(nil, nil, Q8_0); err != nil {
		t.Error(err)
	}
	for _, at := range []int{0, 31} {
		src := make([]float32, 32)
		src[at] = float32(math.Inf(-1))
		if err := Encode(make([]byte, 34), src, Q8_0); err == nil || !strings.Contains(err.Error(), "-Inf, which Q8_0 cannot hold") {
			t.Errorf("an infinite number at %d: %v", at, err)
		}
	}
}

// TestNamesAtTheBound: names of 65,536 bytes are written and read, longer, empty and broken ones neither.
func TestNamesAtTheBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.gguf")
	long := strings.Repeat("k", maxName)
	w, err := Create(path, Metadata{{long, "v"}}, []Info{{long, F32, []int{1, 1, 1, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFloat32(long, []float32{7}); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if v, ok := f.Metadata.Get(long); !ok || v != "v" || f.Tensors[0].Name != long || len(f.Tensors[0].Shape) != 4 {
		t.Errorf("%v, %d dimensions", v, len(f.Tensors[0].Shape))
	}
	for _, name := range []string{long + "k", "", "\xff"} {
		if _, err := Create(path, Metadata{{name, "v"}}, nil); err == nil {
			t.Errorf("a key %.10q was written", name)
		}
		if _, err := Create(path, nil, []Info{{name, F32, []int{1}}}); err == nil {
			t.Errorf("a tensor %.10q was written", name)
		}
		for _, b := range [][]byte{build(0, 1, name, 8, "v"), padded(build(1, 0, tensorAt(name, 1, 0)), 4)} {
			if _, err := parse(append(b, make([]byte, 30)...)); err == nil {
				t.Errorf("the name %.10q was read", name)
			}
		}
	}
}

// TestMetadataAlone: a file without tensors ends with its header, whose last byte is not padding where it fills a line of 32.
func TestMetadataAlone(t *testing.T) {
	for n := range 40 {
		meta := Metadata{{"k", strings.Repeat("v", n)}}
		path := filepath.Join(t.TempDir(), "x.gguf")
		w, err := Create(path, meta, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := f.Metadata.Get("k"); v != meta[0].Value {
			t.Errorf("%q came back as %q", meta[0].Value, v)
		}
		f.Close()
	}
}

// TestAlignments: data begins at a multiple of what the file says, up to 1 MiB.
func TestAlignments(t *testing.T) {
	for _, align := range []int{1, 2, 32, 256, maxAlign} {
		b := build(1, 1, alignment, 4, align, tensorAt("a", 1, 0))
		at := (len(b) + align - 1) / align * align
		b = append(b, make([]byte, at-len(b))...)
		b = le.AppendUint32(b, math.Float32bits(7))
		f, err := parse(b)
		if err != nil {
			t.Errorf("alignment %d: %v", align, err)
			continue
		}
		if v, err := f.Tensors[0].Float32(); err != nil || v[0] != 7 {
			t.Errorf("alignment %d: %v, %v", align, v, err)
		}
	}
	if _, err := parse(append(build(1, 1, alignment, 4, 2*maxAlign, tensorAt("a", 1, 0)), make([]byte, 4*maxAlign)...)); err == nil {
		t.Error("an alignment of 2 MiB was taken")
	}
}

// TestShapesAtTheBound: up to four dimensions and 2^46 elements.
func TestShapesAtTheBound(t *testing.T) {
	for _, c := range []struct {
		shape []int
		ok    bool
	}{{[]int{1 << 23, 1 << 23}, true}, {[]int{1 << 23, 1 << 24}, false}, {[]int{1, 1, 1, 1}, true}, {[]int{1, 1, 1, 1, 1}, false}, {[]int{maxElements}, true}, {[]int{maxElements + 1}, false}, {[]int{-1}, false}} {
		if err := (Info{"x", F32, c.shape}).check(); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.shape, err)
		}
	}
}

// TestFloat64: each element in its place, rounded to the nearest float32.
func TestFloat64(t *testing.T) {
	want := []float32{1.5, -0.1, math.MaxFloat32}
	var b []byte
	for _, v := range []float64{1.5, -0.1, math.MaxFloat32} {
		b = le.AppendUint64(b, math.Float64bits(v))
	}
	got := make([]float32, 3)
	if err := Decode(got, b, F64); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v (%v)", got, want, err)
	}
}

// TestRoundings: halves go to the even number, what is too large for the addition that rounds is 0, and so is the inverse that is not finite.
func TestRoundings(t *testing.T) {
	for x, want := range map[float32]int{0.5: 0, 1.5: 2, 2.5: 2, -1.5: -2, -2.5: -2, 2.4999998: 2, 4194303: 4194303, -4194303: -4194303, 4194304: 0, -4194304: 0, math.MaxFloat32: 0} {
		if got := nearest(x); got != want {
			t.Errorf("%v is rounded to %d, want %d", x, got, want)
		}
	}
	if nan := float32(math.NaN()); nearest(nan) != 0 || bits(nan, 15) != 0 {
		t.Error("what is no number is not 0")
	}
	for d, want := range map[float32]float32{0: 0, 0x1p-149: 0, 0x1p-126: 0x1p126, -4: -0.25} {
		if got := inverse(d); got != want {
			t.Errorf("the inverse of %v is %v, want %v", d, got, want)
		}
	}
	for n, want := range map[int64]int64{0: 0, 1: 32, 31: 32, 32: 32, 33: 64} {
		if got := aligned(n); got != want {
			t.Errorf("%d bytes end at %d, want %d", n, got, want)
		}
	}
}
