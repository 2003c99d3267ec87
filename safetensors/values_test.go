package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// halfValue is a float16 by the definition of IEEE 754: sign, 5 bits of exponent with a bias of 15, 10 of fraction.
func halfValue(b uint16) float64 {
	sign, exponent, fraction := float64(1), int(b>>10&31), float64(b&0x3ff)
	if b>>15 == 1 {
		sign = -1
	}
	switch {
	case exponent == 31 && fraction != 0:
		return math.NaN()
	case exponent == 31:
		return math.Inf(int(sign))
	case exponent == 0:
		return sign * math.Ldexp(fraction, -24)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// TestEveryHalf converts all numbers of 16 bits, there and back: the values are those of the definition, and come back as the same bits.
func TestEveryHalf(t *testing.T) {
	src := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	values, back := make([]float32, 1<<16), make([]byte, len(src))
	for d, want := range map[DType]func(b uint16) float64{F16: halfValue, BF16: func(b uint16) float64 { return float64(math.Float32frombits(uint32(b) << 16)) }} {
		ToFloat32(values, src, d)
		FromFloat32(back, values, d)
		for i, v := range values {
			w := want(uint16(i))
			if nan := math.IsNaN(w); nan != (v != v) || !nan && (float64(v) != w || math.Signbit(float64(v)) != math.Signbit(w)) {
				t.Fatalf("%v %#04x is %v, want %v", d, i, v, w)
			}
			b := binary.LittleEndian.Uint16(back[2*i:])
			if v == v && b != uint16(i) {
				t.Fatalf("%v %#04x came back as %#04x", d, i, b)
			}
			if again := halfValue(b); v != v && d == F16 && again == again {
				t.Fatalf("%v %#04x, which is no number, came back as %v", d, i, again)
			}
		}
	}
}

// TestRounding is to nearest, ties to even, in one step, and to infinity beyond the largest number.
func TestRounding(t *testing.T) {
	for _, c := range []struct {
		d    DType
		from float64 // a float32, but for those of bfloat16
		want uint16
	}{
		{F16, 2049, 0x6800}, {F16, 2051, 0x6802}, {F16, 65519, 0x7bff}, {F16, 65520, 0x7c00}, {F16, -65520, 0xfc00}, // ulp 2, and the largest, 65504
		{F16, 0x1p-24, 1}, {F16, 0x1p-25, 0}, {F16, 0x1.8p-24, 2}, {F16, 0x1.000002p-25, 1}, {F16, math.Copysign(0, -1), 0x8000}, // subnormal
		{F16, math.Inf(-1), 0xfc00},
		{BF16, 1 + 0x1p-8, 0x3f80}, {BF16, 1 + 0x3p-8, 0x3f82}, {BF16, 0x1.ffp127, 0x7f80}, {BF16, -0x1.fep127, 0xff7f}, {BF16, 0x1p-133, 1}, {BF16, 0x1p-134, 0},
	} {
		b := make([]byte, 2)
		FromFloat32(b, []float32{float32(c.from)}, c.d)
		if got := binary.LittleEndian.Uint16(b); got != c.want {
			t.Errorf("%v as %v is %#04x, want %#04x", c.from, c.d, got, c.want)
		}
	}
	// between 1 and the next bfloat16, just above the middle: a float32 is the middle itself, which rounds down
	src := binary.LittleEndian.AppendUint64(nil, math.Float64bits(1+0x1p-8+0x1p-40))
	once := make([]uint16, 1)
	if ToBFloat16(once, src, F64); once[0] != 0x3f81 {
		t.Errorf("a float64 is rounded twice: %#04x", once[0])
	}
	wide := make([]float32, 1)
	if ToFloat32(wide, binary.LittleEndian.AppendUint64(nil, math.Float64bits(1+0x1p-24)), F64); wide[0] != 1 {
		t.Errorf("a float64 between two float32 is %v", wide[0])
	}
}

// TestTypes holds names and sizes to the format's table; a number that is none has a name that says so.
func TestTypes(t *testing.T) {
	sizes := map[string]int{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8}
	for name, size := range sizes {
		d, err := parseDType(name)
		if err != nil || d.Size() != size || d.String() != name || d.Float() != (strings.Contains(name, "F") && size > 1) {
			t.Errorf("%s: %v of %d bytes, float %v, %v", name, d, d.Size(), d.Float(), err)
		}
	}
	for _, none := range []DType{0, C64 + 1, 99} {
		if none.String() != fmt.Sprintf("DType(%d)", uint8(none)) {
			t.Errorf("%d is called %v", uint8(none), none)
		}
		if _, err := Create(filepath.Join(t.TempDir(), "x"), []Info{{"a", none, nil}}, nil); err == nil || !strings.Contains(err.Error(), "no element type") {
			t.Errorf("%v is planned: %v", none, err)
		}
	}
	if _, err := parseDType(""); err == nil {
		t.Error("nothing is a type")
	}
}

// TestIndex: an index says where each tensor lies and how many bytes all have; files that are no weights of the folder stay.
func TestIndex(t *testing.T) {
	dir := t.TempDir()
	others := []string{"adapter_model.safetensors", "model-1-of-2.safetensors", "model-00001-of-00002.safetensors.bak", "config.json"}
	for _, name := range append(others, "model-00007-of-00009.safetensors") {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w, err := CreateModel(dir, plan, 90)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, plan)
	text, err := os.ReadFile(filepath.Join(dir, IndexName))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Metadata struct {
			Total int `json:"total_size"`
		} `json:"metadata"`
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, p := range plan {
		sum += p.Bytes()
		a := open(t, filepath.Join(dir, index.Map[p.Name]))
		if _, ok := a.Tensor(p.Name); !ok {
			t.Errorf("%s is not in %s", p.Name, index.Map[p.Name])
		}
	}
	if index.Metadata.Total != sum || len(index.Map) != len(plan) || open(t, dir).Bytes() != int64(sum) {
		t.Errorf("%d bytes of %d tensors, want %d of %d", index.Metadata.Total, len(index.Map), sum, len(plan))
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "model-00007-of-00009.safetensors")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old shard is left: %v", err)
	}
}

// TestIndexPicks: of two shards with a tensor of one name the index says which counts, and what it does not name is not seen.
func TestIndexPicks(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"one.safetensors", "two.safetensors"} {
		w, err := Create(filepath.Join(dir, name), []Info{{"a", U8, []int{1}}, {"b", U8, []int{1}}}, map[string]string{name: "here"})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write("a", []byte{byte(i)}), w.Write("b", []byte{byte(10 + i)}), w.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	index := filepath.Join(dir, "my.index.json")
	if err := os.WriteFile(index, []byte(`{"metadata":{"x":[{"y":1}]},"weight_map":{"a":"two.safetensors"},"more":null}`), 0o644); err != nil {
		t.Fatal(err)
	}
	a := open(t, index)
	x, ok := a.Tensor("a")
	if !ok || x.Data[0] != 1 || !slices.Equal(a.Names(), []string{"a"}) || a.Bytes() != 1 {
		t.Errorf("%v %v, names %v", x, ok, a.Names())
	}
	if err := os.WriteFile(index, []byte(`{"weight_map":{"b":"one.safetensors","a":"two.safetensors"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	a = open(t, index)
	if diff := cmp.Diff(map[string]string{"one.safetensors": "here", "two.safetensors": "here"}, a.Metadata()); diff != "" {
		t.Error(diff)
	}
	if b, _ := a.Tensor("b"); b.Data[0] != 10 || !slices.Equal(a.Names(), []string{"b", "a"}) {
		t.Errorf("b is %v, names %v", b.Data, a.Names())
	}
}

// TestIndexTooLarge is refused before it is read.
func TestIndexTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), IndexName)
	if err := errors.Join(os.WriteFile(path, []byte("{"), 0o644), os.Truncate(path, maxHeader+1)); err != nil { // no block of it is on the disk
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "is too large") {
		t.Errorf("got %v", err)
	}
}

// TestShapes: the sizes of shapes at the edge of what an int holds, and of such as hold nothing.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		d     DType
		shape []int
		ok    bool
	}{
		{U8, []int{math.MaxInt}, true}, {U16, []int{math.MaxInt / 2}, true}, {U16, []int{math.MaxInt/2 + 1}, false}, {U8, []int{math.MaxInt, 2}, false},
		{F64, []int{0, math.MaxInt, math.MaxInt}, true}, {F64, []int{math.MaxInt, 0}, false}, {U8, slices.Repeat([]int{1}, maxRank), true}, {U8, slices.Repeat([]int{1}, maxRank+1), false},
		{U8, []int{-1}, false}, {U8, []int{-1, -1}, false},
	} {
		if err := (Info{"x", c.d, c.shape}).check(); (err == nil) != c.ok {
			t.Errorf("%v %v: %v", c.d, c.shape, err)
		}
	}
	i := Info{"x", I16, []int{2, 0, 3}}
	if i.Elements() != 0 || i.Bytes() != 0 || i.String() != "x I16 [2 0 3]" || (Info{"x", I16, nil}).Bytes() != 2 {
		t.Errorf("%v: %d elements, %d bytes", i, i.Elements(), i.Bytes())
	}
}

// TestCut: shards hold as many tensors as fit, one that is too large is alone, and every tensor is in one.
func TestCut(t *testing.T) {
	var list []Info
	for i, n := range []int{3, 4, 3, 20, 1, 1, 9} {
		list = append(list, Info{fmt.Sprint(i), U8, []int{n}})
	}
	for size, want := range map[int64]string{10: "3 | 1 | 2 | 1", 11: "3 | 1 | 3", 1: "1 | 1 | 1 | 1 | 1 | 1 | 1", 41: "7", 40: "6 | 1"} {
		var got []string
		for _, part := range cut(list, size) {
			got = append(got, fmt.Sprint(len(part)))
		}
		if g := strings.Join(got, " | "); g != want {
			t.Errorf("shards of %d bytes hold %s tensors, want %s", size, g, want)
		}
	}
	if parts := cut(nil, 10); len(parts) != 1 || len(parts[0]) != 0 {
		t.Errorf("nothing is cut into %v", parts)
	}
}

// TestForeignOrder: tensors may be listed in another order than they lie in, and lie where no number of their type may: then there is no view.
func TestForeignOrder(t *testing.T) {
	header := `{"last":{"dtype":"F32","shape":[1],"data_offsets":[3,7]},"first":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}`
	header += strings.Repeat(" ", -len(header)&7)
	b := file(header, 7)
	binary.LittleEndian.PutUint32(b[len(b)-4:], math.Float32bits(1.5))
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	a := open(t, path)
	if !slices.Equal(a.Names(), []string{"first", "last"}) {
		t.Errorf("names %v, want them as they lie", a.Names())
	}
	x, _ := a.Tensor("last")
	if v, err := x.Float32(); err != nil || v[0] != 1.5 || x.View() != nil {
		t.Errorf("%v, %v, a view %v", v, err, x.View())
	}
}

// TestBFloat16KeepsBits: what is bfloat16 already comes as it is, numbers that are none with their payload.
func TestBFloat16KeepsBits(t *testing.T) {
	bits := []uint16{0x7f81, 0xffff, 0x8000, 1}
	var src []byte
	for _, b := range bits {
		src = binary.LittleEndian.AppendUint16(src, b)
	}
	got := make([]uint16, len(bits))
	if ToBFloat16(got, src, BF16); !slices.Equal(got, bits) {
		t.Errorf("%#04x, want %#04x", got, bits)
	}
}

// TestSizesOfData: a conversion takes no more than it has room for, nor less, and a writer only what was planned.
func TestSizesOfData(t *testing.T) {
	for name, misuse := range map[string]func(){
		"ToFloat32 of more":    func() { ToFloat32(make([]float32, 1), make([]byte, 8), F32) },
		"ToBFloat16 of more":   func() { ToBFloat16(make([]uint16, 1), make([]byte, 8), BF16) },
		"ToBFloat16 of ints":   func() { ToBFloat16(make([]uint16, 1), make([]byte, 4), I32) },
		"FromFloat32 of fewer": func() { FromFloat32(make([]byte, 8), make([]float32, 1), F32) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			misuse()
		}()
	}
	w, err := Create(filepath.Join(t.TempDir(), "x"), []Info{{"a", F16, []int{2}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, n := range []int{0, 1, 3} {
		if err := w.WriteFloat32("a", make([]float32, n)); err == nil || !strings.Contains(err.Error(), "another size or type") {
			t.Errorf("%d numbers for two: %v", n, err)
		}
	}
}

// TestWriterKeepsOrder: what was written cannot be written again, and an aborted writer leaves nothing, nor touches what was there.
func TestWriterKeepsOrder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SingleName)
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := CreateModel(dir, []Info{{"a", U8, []int{1}}, {"b", U8, []int{1}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write("a", []byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := w.Write("a", []byte{1}); err == nil || !strings.Contains(err.Error(), "was written before") {
		t.Errorf("written twice: %v", err)
	}
	w.Abort()
	w.Abort()
	if got := names(t, dir); got != SingleName {
		t.Errorf("left behind: %s", got)
	}
	if text, _ := os.ReadFile(path); string(text) != "old" {
		t.Errorf("the old weights are %q", text)
	}
	if _, err := Create(filepath.Join(dir, "none", "x.safetensors"), nil, nil); err == nil {
		t.Error("a file in a folder that is not there was created")
	}
}

// TestFailuresAreTold: of a disk that does not take a file, of old weights that cannot be cleared, and of a folder that cannot be looked into.
func TestFailuresAreTold(t *testing.T) {
	for blocked, want := range map[string]string{
		"model-00002-of-00002.safetensors": "file exists", // a folder by now, as are the others
		IndexName:                          "it is a folder",
		"model-00001-of-00009.safetensors": "clear old weights",
	} {
		dir := t.TempDir()
		w, err := CreateModel(dir, []Info{{"a", U8, []int{1}}, {"b", U8, []int{1}}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write("a", []byte{1}), w.Write("b", []byte{1}), os.MkdirAll(filepath.Join(dir, blocked, "full"), 0o755)); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is in the way: %v, want %q", blocked, err, want)
		}
		if left := names(t, dir); strings.Contains(left, ".tmp-") {
			t.Errorf("%s was in the way: left behind %s", blocked, left)
		}
	}
	w, err := Create(filepath.Join(t.TempDir(), "x"), []Info{{"a", F32, []int{1}}, {"b", F32, []int{1}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if w.Write("a", make([]byte, 4)) == nil || w.WriteFloat32("b", make([]float32, 1)) == nil {
		t.Error("a tensor went into a file that was dropped")
	}
}
