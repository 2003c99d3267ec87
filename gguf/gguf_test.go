package gguf

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const golden = "../testdata/golden/gguf"

func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestReference reads what gguf-py wrote.
func TestReference(t *testing.T) {
	f := open(t, filepath.Join(golden, "reference.gguf"))
	want := Metadata{{"general.architecture", "test"}, {"u8", uint8(200)}, {"i8", int8(-3)}, {"u16", uint16(60000)}, {"i16", int16(-30000)},
		{"u32", uint32(4_000_000_000)}, {"i32", int32(-2_000_000_000)}, {"f32", float32(1.5)}, {"flag", true}, {"text", "naïve \"text\""},
		{"names", []string{"a", "", "ü"}}, {"numbers", []int32{1, -2, 3}}, {"floats", []float32{0.5, -1.25}}, {"flags", []bool{true, false}},
		{"u64", uint64(1 << 60)}, {"i64", int64(-1 << 60)}, {"f64", 0.1}}
	if diff := cmp.Diff(want, f.Metadata); diff != "" || f.Version != 3 {
		t.Errorf("version %d, %s", f.Version, diff)
	}
	var x []float32
	for i := range 96 {
		x = append(x, float32(i-48)/16)
	}
	for _, c := range []struct {
		info      string
		values    []float32
		tolerance float64
	}{{"matrix F32 [3 32]", x, 0}, {"half F16 [5]", x[:5], 0}, {"blocks Q8_0 [3 32]", x, 0.02}, {"cube F32 [2 3 16]", x, 0}} {
		name, _, _ := strings.Cut(c.info, " ")
		tensor, ok := f.Tensor(name)
		got, err := tensor.Float32()
		if !ok || err != nil || tensor.Info.String() != c.info || len(got) != len(c.values) {
			t.Errorf("got %v with %d values (%v), want %s with %d", tensor.Info, len(got), err, c.info, len(c.values))
			continue
		}
		for i := range got {
			if math.Abs(float64(got[i]-c.values[i])) > c.tolerance {
				t.Errorf("%s[%d] is %v, want %v", name, i, got[i], c.values[i])
			}
		}
	}
	integers, _ := f.Tensor("integers")
	if _, err := integers.Float32(); err == nil || integers.Type != I32 || !bytes.Equal(integers.Data, []byte{0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0}) {
		t.Errorf("%v with %v, %v", integers.Info, integers.Data, err)
	}
	if _, ok := f.Tensor("nothing"); ok {
		t.Error("there is a tensor nothing")
	}
}

// TestRoundTrip writes metadata of every type and tensors of every type that can be written, in another order than planned.
func TestRoundTrip(t *testing.T) {
	meta := Metadata{{"a", uint8(1)}, {"b", int8(-1)}, {"c", uint16(2)}, {"d", int16(-2)}, {"e", uint32(3)}, {"f", int32(-3)}, {"g", float32(0.25)},
		{"h", false}, {"i", "text"}, {"j", uint64(math.MaxUint64)}, {"k", int64(math.MinInt64)}, {"l", -0.5}, {"m", []uint8{1, 2}},
		{"n", []int8{-1}}, {"o", []uint16{7}}, {"p", []int16{-7}}, {"q", []uint32{8}}, {"r", []int32{-8}}, {"s", []float32{1}}, {"t", []bool{true}},
		{"u", []string{"x", "\xff"}}, {"v", []uint64{9}}, {"w", []int64{-9}}, {"x", []float64{2}}, {"y", []string{}}}
	var plan []Info
	for _, typ := range []Type{F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K} {
		plan = append(plan, Info{"tensor." + typ.String(), typ, []int{3, 512}})
	}
	plan = append(plan, Info{"vector", F32, []int{5}}, Info{"experts", Q8_0, []int{2, 3, 64}})
	values := func(i Info) []float32 {
		v := make([]float32, i.Elements())
		for j := range v {
			v[j] = float32(math.Sin(float64(j*j + len(i.Name))))
		}
		return v
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	w, err := Create(path, meta, plan)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range plan {
		p := plan[(i*5+3)%len(plan)]
		if err := w.WriteFloat32(p.Name, values(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if diff := cmp.Diff(meta, f.Metadata); diff != "" {
		t.Error(diff)
	}
	for i, p := range plan {
		got := f.Tensors[i]
		if !reflect.DeepEqual(got.Info, p) {
			t.Errorf("%v came back as %v", p, got.Info)
		}
		want := make([]byte, p.Bytes())
		if err := Encode(want, values(p), p.Type); err != nil || !bytes.Equal(want, got.Data) {
			t.Errorf("the data of %v changed (%v)", p, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size()%32 != 0 {
		t.Errorf("the file has %d bytes, which is not padded", info.Size())
	}
}

func TestWriterRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.gguf")
	good := []Info{{"a", F32, []int{2}}}
	for want, c := range map[string]struct {
		meta Metadata
		plan []Info
	}{
		`key cannot be called ""`:              {Metadata{{"", "x"}}, good},
		`"twice", or occurs twice`:             {Metadata{{"twice", "x"}, {"twice", "y"}}, good},
		`"general.alignment"`:                  {Metadata{{"general.alignment", uint32(64)}}, good},
		"type int cannot be stored":            {Metadata{{"n", 5}}, good},
		`"a", or is planned twice`:             {nil, append(slices.Clone(good), good...)},
		"fill blocks of 256":                   {nil, []Info{{"a", Q4_K, []int{2, 128}}}},
		"0 dimensions":                         {nil, []Info{{"a", F32, nil}}},
		"empty or too large":                   {nil, []Info{{"a", F32, []int{3, 0}}}},
		"element type Type(77), which is not ": {nil, []Info{{"a", 77, []int{3}}}},
	} {
		if _, err := Create(path, c.meta, c.plan); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	w, err := Create(path, nil, []Info{{"a", Q8_0, []int{32}}, {"b", Q2_K, []int{256}}})
	if err != nil {
		t.Fatal(err)
	}
	bad := make([]float32, 32)
	bad[3] = float32(math.NaN())
	for want, err := range map[string]error{
		"not in the plan":           w.WriteFloat32("c", nil),
		"31 elements were given":    w.WriteFloat32("a", make([]float32, 31)),
		"does not write":            w.WriteFloat32("b", make([]float32, 256)),
		"element 3 is NaN":          w.WriteFloat32("a", bad),
		"planned but never written": func() error { w, _ := Create(path, nil, good); return w.Commit() }(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	w.Abort()
	if w, err = Create(path, nil, good); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFloat32("a", make([]float32, 2)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil { // somebody made a folder of that name meanwhile
		t.Fatal(err)
	}
	if err := w.Commit(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a folder is in the way: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// build is a file by hand: header numbers, then whatever body holds.
func build(tensors, pairs uint64, body ...any) []byte {
	b := append([]byte("GGUF"), 3, 0, 0, 0)
	b = le.AppendUint64(le.AppendUint64(b, tensors), pairs)
	for _, v := range body {
		switch v := v.(type) {
		case string:
			b = appendString(b, v)
		case int:
			b = le.AppendUint32(b, uint32(v))
		case uint64:
			b = le.AppendUint64(b, v)
		case []byte:
			b = append(b, v...)
		}
	}
	return b
}

// tensorAt is an entry of the list of tensors: a vector of n F32.
func tensorAt(name string, n, offset uint64) []byte {
	return build(0, 0, name, 1, n, 0, offset)[24:]
}

func padded(b []byte, data int) []byte {
	return append(b, make([]byte, int(aligned(int64(len(b))))-len(b)+data)...)
}

func TestHostile(t *testing.T) {
	const huge = uint64(1 << 62)
	good := padded(build(1, 1, "k", 8, "v", tensorAt("a", 4, 0)), 16)
	if _, err := parse(good); err != nil {
		t.Fatalf("the plain file: %v", err)
	}
	version := func(v ...byte) []byte { return append(append([]byte("GGUF"), v...), good[8:]...) }
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":               {nil, "no GGUF file"},
		"other magic":         {append([]byte("GGML"), good[4:]...), "no GGUF file"},
		"short":               {good[:20], "no GGUF file"},
		"version 1":           {version(1, 0, 0, 0), "from the format's first weeks"},
		"version 0":           {version(0, 0, 0, 0), "version 0 is not supported"},
		"value type 13":       {build(0, 1, "k", 13, "vvvvvvvv"), "type 13 is unknown"},
		"array of type 13":    {build(0, 1, "k", 9, 13, uint64(1), "x"), "unknown type"},
		"version 9":           {version(9, 0, 0, 0), "version 9 is not supported"},
		"big-endian":          {version(0, 0, 0, 3), "big-endian"},
		"tensor count":        {build(huge, 0), "claims 4611686018427387904 tensors"},
		"key count":           {build(0, huge), "4611686018427387904 keys"},
		"key length":          {build(0, 1, huge, make([]byte, 50)), "the name of a key has"},
		"key cut":             {build(0, 1, uint64(60000), make([]byte, 50)), "60000 bytes are claimed"},
		"empty key":           {build(0, 1, "", 8, "v"), "empty or no UTF-8"},
		"key no text":         {build(0, 1, "\xff", 8, "v"), "no UTF-8"},
		"twice":               {build(0, 2, "k", 8, "v", "k", 8, "v"), `"k" occurs twice`},
		"value type":          {build(0, 1, "k", 99, "vvvv"), "type 99 is unknown"},
		"string length":       {build(0, 1, "k", 8, huge), "bytes are claimed"},
		"bool":                {build(0, 1, "k", 7, []byte{2}, "padding"), "a truth value is 2"},
		"array count":         {build(0, 1, "k", 9, 8, huge, "x"), "array of 4611686018427387904 elements"},
		"array type":          {build(0, 1, "k", 9, 77, uint64(1), "x"), "unknown type"},
		"array of arrays":     {build(0, 1, "k", 9, 9, uint64(1), 0, uint64(1), "x"), "array of arrays"},
		"array of cut string": {build(0, 1, "k", 9, 8, uint64(1), huge), "bytes are claimed"},
		"no dimensions":       {build(1, 0, "a", 0, 0, uint64(0), "padding"), "has 0 dimensions"},
		"dimensions":          {build(1, 0, "a", 1<<30, 0, uint64(0), "padding"), "has 1073741824 dimensions"},
		"overflow":            {build(1, 0, "a", 2, huge, huge, 0, uint64(0)), "empty or too large"},
		"overflow of product": {build(1, 0, "a", 3, uint64(1<<31), uint64(1<<31), uint64(4), 0, uint64(0)), "empty or too large"},
		"zero dimension":      {build(1, 0, "a", 1, uint64(0), 0, uint64(0), "pad"), "empty or too large"},
		"element type":        {build(1, 0, "a", 1, uint64(4), 200, uint64(0)), "element type Type(200)"},
		"type by name":        {build(1, 0, "a", 1, uint64(256), 23, uint64(0)), "element type IQ4_XS"},
		"half a block":        {build(1, 0, "a", 1, uint64(31), 8, uint64(0)), "do not fill blocks of 32"},
		"beyond the end":      {good[:len(good)-1], `"a" reaches beyond the end`},
		"offset":              {padded(build(1, 0, tensorAt("a", 4, 1<<63)), 16), "reaches beyond the end"},
		"offset wraps":        {padded(build(1, 0, tensorAt("a", 4, math.MaxUint64-31)), 16), "reaches beyond the end"},
		"unaligned":           {padded(build(1, 0, tensorAt("a", 4, 8)), 64), "no multiple of the alignment 32"},
		"overlap":             {padded(build(2, 0, tensorAt("a", 16, 0), tensorAt("b", 4, 32)), 64), `"b" overlaps tensor "a"`},
		"same tensor":         {padded(build(2, 0, tensorAt("a", 4, 0), tensorAt("a", 4, 32)), 64), `"a" occurs twice`},
		"alignment":           {padded(build(1, 1, alignment, 4, 24, tensorAt("a", 4, 0)), 64), "general.alignment is 24"},
		"alignment 0":         {padded(build(1, 1, alignment, 4, 0, tensorAt("a", 4, 0)), 64), "general.alignment is 0"},
		"huge alignment":      {padded(build(1, 1, alignment, 4, 1<<31, tensorAt("a", 4, 0)), 64), "general.alignment is"},
		"alignment no number": {padded(build(1, 1, alignment, 8, "x", tensorAt("a", 4, 0)), 64), "general.alignment is x"},
	} {
		before := allocated()
		_, err := parse(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", name, err, c.want)
		}
		if used := allocated() - before; used > 1<<20 {
			t.Errorf("%s: took %d bytes", name, used)
		}
	}
	path := filepath.Join(t.TempDir(), "bad.gguf")
	if err := os.WriteFile(path, good[:30], 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the error %v does not name the file", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.gguf")); err == nil {
		t.Error("a file that is not there was opened")
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestVersion2AndAlignment reads what our writer does not make.
func TestVersion2AndAlignment(t *testing.T) {
	b := build(2, 1, alignment, 4, 64, tensorAt("a", 4, 64), tensorAt("b", 1, 0))
	b[4] = 2
	for len(b)%64 != 0 {
		b = append(b, 0)
	}
	b = append(b, make([]byte, 80)...)
	copy(b[len(b)-16:], le.AppendUint32(nil, math.Float32bits(7)))
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := f.Tensors[0].Float32(); err != nil || v[0] != 7 || f.Version != 2 {
		t.Errorf("got %v, %v", v, err)
	}
}

// FuzzParse wants an error or tensors that lie in the file and can be read.
func FuzzParse(f *testing.F) {
	reference, err := os.ReadFile(filepath.Join(golden, "reference.gguf"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reference)
	f.Add(padded(build(1, 1, "k", 9, 8, uint64(2), "v", "w", tensorAt("a", 4, 0)), 16))
	f.Add(padded(build(1, 0, "a", 2, uint64(256), uint64(1), int(Q4_K), uint64(0)), 144))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse(b)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
			return
		}
		for _, tensor := range file.Tensors {
			if len(tensor.Data) != tensor.Info.Bytes() {
				t.Fatalf("%v has %d bytes", tensor.Info, len(tensor.Data))
			}
			if _, err := tensor.Float32(); err != nil && tensor.Type.Float() {
				t.Fatal(err)
			}
		}
		for _, p := range file.Metadata { // what can be read can be written
			if _, err := appendValue(nil, p.Value); err != nil {
				t.Fatal(err)
			}
		}
		_ = fmt.Sprint(file.Metadata)
	})
}
