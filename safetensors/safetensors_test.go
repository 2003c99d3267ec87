package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/internal/half"
)

func open(t testing.TB, path string) *Archive {
	t.Helper()
	a, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// The file was written by the reference implementation.
func TestReference(t *testing.T) {
	a := open(t, "testdata/reference.safetensors")
	if diff := cmp.Diff(map[string]string{"format": "pt", "note": "ä"}, a.Metadata()); diff != "" {
		t.Error(diff)
	}
	floats := []float32{1.5, -2, 0.25, 65504, 0, float32(math.Copysign(0, -1))}
	rounded := slices.Clone(floats)
	rounded[3] = 65280 // the script cuts bf16 off instead of rounding
	for name, want := range map[string][]float32{"f64": floats, "f32": floats, "f16": floats, "bf16": rounded, "empty": {}, `naïve "name"`: {3}} {
		x, ok := a.Tensor(name)
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		got, err := x.Float32()
		if err != nil || !bytes.Equal(bits(got), bits(want)) {
			t.Errorf("%s: got %v, %v; want %v", x.Info, got, err, want)
		}
	}
	raw := map[string]string{
		"i64": "\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x40", "i32": "\xff\xff\xff\xff\x07\x00\x00\x00",
		"i16": "\xfd\xff", "i8": "\xff\x00\x01", "u8": "\xc8", "bool": "\x01\x00",
	}
	shapes := map[string][]int{"i64": {2}, "i32": {1, 2}, "i16": {1}, "i8": {3}, "u8": {}, "bool": {2}}
	for name, want := range raw {
		x, _ := a.Tensor(name)
		if string(x.Data) != want || !slices.Equal(x.Shape, shapes[name]) || x.DType.String() != strings.ToUpper(name) {
			t.Errorf("%s: got %q", x.Info, x.Data)
		}
		if _, err := x.Float32(); err == nil {
			t.Errorf("%s was converted to float32", x.Info)
		}
	}
	if len(a.Names()) != 12 {
		t.Errorf("names: %q", a.Names())
	}
}

func bits(x []float32) []byte {
	var b []byte
	for _, f := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

var plan = []Info{
	{"tiny", U8, []int{3}}, {"wide", F64, []int{2, 2}}, {"empty", F32, []int{0, 7}}, {"scalar", BF16, []int{}},
	{"half", F16, []int{5}}, {"a/b.c \"q\" <ü>", F32, []int{4, 3}}, {"index", I64, []int{1}}, {"flag", Bool, []int{1}},
}

func content(i Info) []byte {
	b := make([]byte, i.Bytes())
	r := rand.New(rand.NewPCG(uint64(len(i.Name)), uint64(i.DType)))
	for j := range b {
		b[j] = byte(r.Uint32()) & 1
	}
	return b
}

func write(t testing.TB, w *Writer, plan []Info) {
	t.Helper()
	defer w.Abort()
	for i := range plan {
		p := plan[(i*5+3)%len(plan)] // any order will do
		if err := w.Write(p.Name, content(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

func checkPlanned(t *testing.T, a *Archive) {
	t.Helper()
	for _, p := range plan {
		x, ok := a.Tensor(p.Name)
		if !ok || !cmp.Equal(x.Info, p) || !bytes.Equal(x.Data, content(p)) {
			t.Errorf("%s came back as %s, %v", p, x.Info, x.Data)
		}
	}
	if len(a.Names()) != len(plan) {
		t.Errorf("%d tensors, want %d", len(a.Names()), len(plan))
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	w, err := Create(path, plan, map[string]string{"format": "pt", "k": "\"<v>\""})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, plan)
	a := open(t, path)
	checkPlanned(t, a)
	if a.Metadata()["k"] != "\"<v>\"" {
		t.Errorf("metadata %v", a.Metadata())
	}
	h, err := parseHeader(a.files[0].Bytes())
	if err != nil || h.size%8 != 0 {
		t.Errorf("the data starts at byte %d, %v", h.size, err)
	}
	for _, e := range h.entries { // aligned in the file, so that views need no copy
		if e.begin%e.DType.Size() != 0 {
			t.Errorf("%s starts at byte %d", e.Info, e.begin)
		}
	}
}

func names(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestModelFolder(t *testing.T) {
	dir := t.TempDir()
	steps := []struct {
		shard int64
		files string
	}{
		{0, "model.safetensors"},
		{40, "model-00001-of-00004.safetensors model-00002-of-00004.safetensors model-00003-of-00004.safetensors model-00004-of-00004.safetensors model.safetensors.index.json"},
		{90, "model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json"},
		{1 << 20, "model.safetensors"},
		{1, ""},
	}
	for _, s := range steps { // each replaces the one before
		w, err := CreateModel(dir, plan, s.shard)
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, plan)
		if got := names(t, dir); s.files != "" && got != s.files {
			t.Errorf("shards of %d: files %s", s.shard, got)
		}
		a := open(t, dir)
		checkPlanned(t, a)
		if a.Metadata()["format"] != "pt" {
			t.Errorf("metadata %v", a.Metadata())
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	for _, bad := range [][]Info{
		{{"a", F32, []int{1}}, {"a", F32, []int{1}}}, {{"", F32, nil}}, {{"__metadata__", F32, nil}}, {{"\xff", F32, nil}},
		{{"a", 0, nil}}, {{"a", 99, nil}}, {{"a", F32, []int{-1}}}, {{"a", F32, []int{math.MaxInt / 2, 8}}},
		{{"a", U8, []int{math.MaxInt}}, {"b", U8, []int{math.MaxInt}}},
	} {
		if _, err := Create(path, bad, nil); err == nil {
			t.Errorf("the plan %v was accepted", bad)
		}
	}
	w, err := Create(path, []Info{{"a", F32, []int{2}}, {"b", I8, []int{1}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.Write("c", nil) == nil || w.Write("a", make([]byte, 7)) == nil || w.WriteFloat32("b", []float32{1}) == nil {
		t.Error("a tensor outside the plan was accepted")
	}
	if err := w.Commit(); err == nil {
		t.Error("committed without all tensors")
	}
	w, err = Create(path, []Info{{"a", F32, []int{2}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("committed without all tensors: %v", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// file makes a safetensors file from a header text and n bytes of data.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

func TestHostileHeaders(t *testing.T) {
	const a = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	cases := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "too few"},
		{"seven bytes", make([]byte, 7), "too few"},
		{"huge header", append(bytes.Repeat([]byte{0xff}, 8), "{}"...), "more than the format allows"},
		{"just over the cap", binary.LittleEndian.AppendUint64(nil, maxHeader+1), "more than the format allows"},
		{"just the cap", binary.LittleEndian.AppendUint64(nil, maxHeader), "cut short"},
		{"missing type", file(`{"a":{"shape":[0],"data_offsets":[0,0]}}`, 0), "are needed"},
		{"missing shape", file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "are needed"},
		{"text in a shape", file(`{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}`, 1), "expected a number, found 1"},
		{"null in a shape", file(`{"a":{"dtype":"U8","shape":[null],"data_offsets":[0,1]}}`, 1), "expected a number"},
		{"shape is a number", file(`{"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}}`, 1), "expected ["},
		{"header longer than file", binary.LittleEndian.AppendUint64(nil, 100), "cut short"},
		{"no JSON", file("hello", 0), "not JSON"},
		{"zero-length header", file("", 0), "not JSON"},
		{"leading space", file(" {}", 0), "not JSON"},
		{"cut JSON", file("{"+a, 8), "damaged"},
		{"an array", file("{}"[:1]+"]", 0), "damaged"},
		{"key is a number", file("{1:{}}", 0), "damaged: invalid character '1'"},
		{"behind JSON", file("{"+a+"}x", 8), "behind the JSON"},
		{"two objects", file("{"+a+"}{}", 8), "behind the JSON"},
		{"not UTF-8", file("{\"\xff\":1}", 0), "not JSON"},
		{"duplicate tensor", file("{"+a+","+a+"}", 8), `"a" occurs twice`},
		{"duplicate by escape", file("{"+a+","+strings.Replace(a, `"a"`, `"\u0061"`, 1)+"}", 8), `"a" occurs twice`},
		{"duplicate key", file(`{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), `"dtype" occurs twice`},
		{"unknown key", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}`, 8), `unknown key "x"`},
		{"missing key", file(`{"a":{"dtype":"F32","shape":[2]}}`, 8), "are needed"},
		{"unknown type", file(`{"a":{"dtype":"F4","shape":[16],"data_offsets":[0,8]}}`, 8), `"F4" is not supported`},
		{"type is a number", file(`{"a":{"dtype":3,"shape":[8],"data_offsets":[0,8]}}`, 8), "not supported"},
		{"size differs", file(`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8), "needs 12 bytes"},
		{"backwards", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8), "needs 8 bytes"},
		{"one offset", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}`, 8), "are needed"},
		{"three offsets", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}`, 8), "more than 2"},
		{"negative", file(`{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8), "-2 is not a usable size"},
		{"fraction", file(`{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}`, 8), "2.0 is not a usable size"},
		{"overflow", file(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0), "overflows"},
		{"overflow hidden by zero", file(`{"a":{"dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0]}}`, 0), "overflows"},
		{"many dimensions", file(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 99)+`1],"data_offsets":[0,1]}}`, 1), "more than 64"},
		{"beyond the file", file("{"+a+"}", 7), "cut short"},
		{"bytes behind", file("{"+a+"}", 9), "1 bytes behind"},
		{"hole", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`, 16), "hole of 8 bytes"},
		{"overlap", file("{"+a+`,"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}}`, 10), "overlaps"},
		{"same place", file("{"+a+`,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), "overlaps"},
		{"metadata is a list", file(`{"__metadata__":[],`+a+`}`, 8), "damaged"},
		{"metadata of numbers", file(`{"__metadata__":{"x":1},`+a+`}`, 8), "not text"},
		{"nested", file("{"+strings.Repeat(`"a":{`, 20000), 0), "damaged"},
	}
	dir := t.TempDir()
	for i, c := range cases {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, c.file, 0o644); err != nil {
			t.Fatal(err)
		}
		remedy := "; copy the file anew"
		if strings.Contains(c.want, "not supported") { // nor would the copy be
			remedy = "; take the model in another, such as BF16"
		}
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || !strings.HasSuffix(err.Error(), remedy) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q, the path and what to do", c.name, err, c.want)
		}
	}
	if _, err := parseHeader(file("{"+a+"}  \n ", 8)); err != nil {
		t.Errorf("padding is allowed: %v", err)
	}
	if _, err := parseHeader(file("{}", 0)); err != nil {
		t.Errorf("an empty file is allowed: %v", err)
	}
}

func TestWriteFloat32(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	src := make([]float32, 600_000) // several pieces
	for i := range src {
		src[i] = float32(i%2048) / 16
	}
	var plan []Info
	for _, d := range []DType{F64, F32, F16, BF16} {
		plan = append(plan, Info{d.String(), d, []int{600, 1000}})
	}
	w, err := Create(path, plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plan {
		if err := w.WriteFloat32(p.Name, src); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	a := open(t, path)
	for _, p := range plan {
		x, _ := a.Tensor(p.Name)
		got, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		short := make([]uint16, x.Elements())
		ToBFloat16(short, x.Data, x.DType)
		for i, f := range src {
			if p.DType != BF16 && got[i] != f || short[i] != half.BFromFloat32(f) {
				t.Fatalf("%s: element %d is %v and %#04x, want %v", p, i, got[i], short[i], f)
			}
		}
	}
}

func TestHostileIndex(t *testing.T) {
	cases := []struct{ index, want string }{
		{`{"weight_map":{"a":"../secret"}}`, "not a plain file name"},
		{`{"weight_map":{"a":"/etc/passwd"}}`, "not a plain file name"},
		{`{"weight_map":{"a":"..\\secret"}}`, "not a plain file name"},
		{`{"weight_map":{"a":".."}}`, "not a plain file name"},
		{`{"weight_map":{"a":""}}`, "not a plain file name"},
		{`{"weight_map":{"a":"missing.safetensors"}}`, "which the index names; copy the model's folder anew"},
		{`{"weight_map":{"b":"s.safetensors"}}`, `tensor "b" is not in s.safetensors`},
		{`{"weight_map":{"a":"s.safetensors","a":"s.safetensors"}}`, "occurs twice"},
		{`{"weight_map":{"a":7}}`, `the index has a number for tensor "a", and no file; copy`},
		{`{"weight_map":{}}`, "names no tensors"},
		{`{}`, "names no tensors"},
		{`{"weight_map":`, "the index is cut short; copy the model's folder anew"},
		{``, "the index is cut short; copy the model's folder anew"},
		{`{"weight_map":{"a":null}}`, "not a plain file name"},
		{`{"weight_map":{"a":"s.safetensors"},"weight_map":{}}`, "occurs twice"},
		{`[]`, "expected {"},
	}
	dir := t.TempDir()
	good := file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1)
	if err := os.WriteFile(filepath.Join(dir, "s.safetensors"), good, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if err := os.WriteFile(filepath.Join(dir, IndexName), []byte(c.index), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.index, err, c.want)
		}
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "has neither model.safetensors nor model.safetensors.index.json; copy the weights into it") {
		t.Errorf("an empty folder gave %v", err)
	}
}

// TestOtherWeights: a folder without weights that hone reads says what it has in their place, and what to do.
func TestOtherWeights(t *testing.T) {
	for file, want := range map[string]string{
		"pytorch_model.bin": "PyTorch's format", "pytorch_model-00001-of-00002.bin": "save_pretrained", "adapter_model.safetensors": "--adapter", "consolidated.00.safetensors": "Mistral's own",
		"model-00001-of-00003.safetensors": "index must be copied", "weights.safetensors": "give it that name", "m-Q4_K_M.gguf": "hone import",
	} {
		dir := filepath.Join(t.TempDir(), "a[1]*")
		if err := errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(filepath.Join(dir, file), nil, 0o666)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "has neither model.safetensors nor model.safetensors.index.json, but "+file+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

// TestTooLargeForF16: a number that would be written as infinite is told, and what is infinite or no number is written as it is.
func TestTooLargeForF16(t *testing.T) {
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	for _, c := range []struct {
		d      DType
		v      float32
		refuse bool
	}{{F16, 65519.996, false}, {F16, 65520, true}, {F16, -1e6, true}, {F16, inf, false}, {F16, nan, false}, {BF16, 1e6, false}, {F32, 1e6, false}} {
		w, err := Create(filepath.Join(t.TempDir(), "x.safetensors"), []Info{{"w", c.d, []int{2}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = w.WriteFloat32("w", []float32{0, c.v})
		if refused := err != nil; refused != c.refuse || refused && !strings.Contains(err.Error(), "element 1 is ") {
			t.Errorf("%v as %v: %v", c.v, c.d, err)
		}
		w.Abort()
	}
}

func FuzzHeader(f *testing.F) {
	ref, err := os.ReadFile("testdata/reference.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	n := 8 + int(binary.LittleEndian.Uint64(ref))
	f.Add(string(ref[8:n]), len(ref)-n)
	f.Add(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		if n < 0 || n > 1<<16 {
			return
		}
		b := file(text, n)
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		sum := 0
		for _, e := range h.entries {
			sum += len(b[h.size:][e.begin:e.end])
		}
		if sum != n {
			t.Fatalf("%d of %d bytes belong to a tensor", sum, n)
		}
		again, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		h2, err := parseHeader(append(again, b[h.size:]...))
		if err != nil {
			t.Fatalf("our own header is refused: %v\n%s", err, again)
		}
		if !cmp.Equal(h.entries, h2.entries, cmp.AllowUnexported(entry{})) {
			t.Fatalf("%v became %v", h.entries, h2.entries)
		}
	})
}

// FuzzIndex reads damaged indexes of shards: an error, or plain names of files that lie beside the index.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../s.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"C:s","a":7}}`))
	path := filepath.Join(f.TempDir(), IndexName)
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		shards, tensors, err := readIndex(path)
		if err != nil {
			return
		}
		for _, name := range shards {
			if name != filepath.Base(name) || name == "." || name == ".." || strings.ContainsAny(name, "/\\") || len(tensors[name]) == 0 {
				t.Errorf("the shard %q of %v", name, tensors[name])
			}
		}
	})
}

// The reference implementation must read what we write. It runs where Python has it; CI without it relies on the golden file.
func TestReferenceReadsOurs(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import safetensors, numpy").Run() != nil {
		t.Skip("python3 with the safetensors and numpy packages is not installed")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	w, err := Create(path, plan, map[string]string{"format": "pt"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, plan)
	script := `
import sys, safetensors
for name, t in safetensors.deserialize(open(sys.argv[1], "rb").read()):
    print(name, t["dtype"], list(t["shape"]), bytes(t["data"]).hex())`
	out, err := exec.Command(python, "-c", script, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range plan {
		shape := strings.ReplaceAll(fmt.Sprint(p.Shape), " ", ", ")
		want := fmt.Sprintf("%s %v %s %x\n", p.Name, p.DType, shape, content(p))
		if !strings.Contains(string(out), want) {
			t.Errorf("want the line %q in\n%s", want, out)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "5GB": 5e9, "1.5 mb": 1.5e6, "2GiB": 2 << 30, "300": 300, "10KB": 10000, "1": 1, " 2 TiB ": 2 << 40, "3kib": 3 << 10, "0.001KB": 1} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"GB", "-1GB", "0", "5XB", "1e30GB", "NaN", "inf", "9223372036854775808", "8388608TiB", "0.9", "1MBKB", "1KBMB", "5 G B"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
}

// TestView: the bytes of a file are numbers without a copy, those of another type are not.
func TestView(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	plan := []Info{{"f", F32, []int{3}}, {"b", BF16, []int{2, 2}}, {"h", F16, []int{2}}, {"none", F32, []int{0}}}
	w, err := Create(path, plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plan {
		if err := w.WriteFloat32(p.Name, []float32{1, 2, 3, 4}[:p.Elements()]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	a, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	view := func(name string, lo, hi int) any {
		x, _ := a.Tensor(name)
		return x.Slice(lo, hi).View()
	}
	if f, ok := view("f", 1, 3).([]float32); !ok || len(f) != 2 || f[0] != 2 || f[1] != 3 {
		t.Errorf("elements 1 and 2 are %v", f)
	}
	if b, ok := view("b", 3, 4).([]uint16); !ok || len(b) != 1 || b[0] != 0x4080 {
		t.Errorf("the last bf16 is %#x", b)
	}
	if view("h", 0, 2) != nil || view("none", 0, 0) != nil {
		t.Error("there is a view of f16 or of nothing")
	}
}
