package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

// TestRecords reads the same two records from every kind of file.
func TestRecords(t *testing.T) {
	type row struct {
		Prompt     string `parquet:"prompt"`
		Completion string `parquet:"completion"`
	}
	dir := t.TempDir()
	rows := []row{{"a\"b", "c\nd"}, {"", "ü"}}
	if err := parquet.WriteFile(filepath.Join(dir, "x.parquet"), rows); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"x.jsonl": `{"completion":"c\nd","prompt":"a\"b"}` + "\n\n" + `{"completion":"ü","prompt":""}` + "\n",
		"x.json":  `[ {"completion":"c\nd","prompt":"a\"b"}, {"completion":"ü","prompt":""} ]`,
		"x.csv":   "prompt,completion\n\"a\"\"b\",\"c\nd\"\n,ü\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{`{"completion":"c\nd","prompt":"a\"b"}`, `{"completion":"ü","prompt":""}`}
	for _, name := range []string{"x.jsonl", "x.json", "x.csv", "x.parquet"} {
		var got []string
		for d, err := range (Sources{Paths: []string{filepath.Join(dir, name)}, Records: true}).Documents(&Stats{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(d.Text))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestBadRecords: each error names the file and the record.
func TestBadRecords(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"x.json", `{"a": 1}`, "is no JSON list of records"},
		{"x.json", `[{"a": 1}, {"a": `, "record 2"},
		{"x.json", `[{"a": 1}`, "does not end"},
		{"x.json", `[3]`, "x.json:1: the record is no JSON object"},
		{"x.json", `[{"a": "` + strings.Repeat("x", 3<<20) + `"}]`, "longer than 1000 bytes"},
		{"x.jsonl", "{}\n[1]\n", "x.jsonl:2: the record is no JSON object"},
		{"x.csv", "a,b\n1,2\n3\n", "x.csv:3: 1 fields, but 2 columns"},
		{"x.csv", "a,b\n\"" + strings.Repeat("x", 3<<20), "too long"},
		{"x.parquet", "PAR1 nothing", "not a Parquet file"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		var got error
		for _, err := range (Sources{Paths: []string{path}, Records: true, MaxRecord: 1000}).Documents(&Stats{}) {
			got = err
		}
		if got == nil || !strings.Contains(got.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.text[:min(len(c.text), 30)], got, c.want)
		}
	}
}

// pair is a group in maps and lists, whose numbers have no sign.
type pair struct {
	N uint64 `parquet:"n"`
	M uint32 `parquet:"m"`
	S string `parquet:"s"`
}

type mapRow struct {
	Text   map[string]string            `parquet:"text"`
	Int    map[int32]string             `parquet:"int"`
	Big    map[uint64]uint64            `parquet:"big"`
	Bool   map[bool]string              `parquet:"bool"`
	Float  map[float64]int64            `parquet:"float"`
	Group  map[string]pair              `parquet:"group"`
	Groups map[string][]pair            `parquet:"groups"`
	Deep   map[string]map[string]uint64 `parquet:"deep"`
	List   []map[string]uint64          `parquet:"list,list"`
	Again  []map[string]uint64          `parquet:"again"`
	Maybe  map[string]*pair             `parquet:"maybe"`
	Empty  map[int64]string             `parquet:"empty"`
}

// TestMapsOfParquet: keys that are no texts are written as such, and groups, texts and numbers without a sign in maps are what they are elsewhere.
func TestMapsOfParquet(t *testing.T) {
	const big, large = 1<<63 + 5, 1<<31 + 7
	p := pair{big, large, "x"}
	row := mapRow{map[string]string{"k": "v"}, map[int32]string{65: "x", -3: "y"}, map[uint64]uint64{big: big}, map[bool]string{true: "t"}, map[float64]int64{1.5: -2},
		map[string]pair{"k": p}, map[string][]pair{"k": {p, p}}, map[string]map[string]uint64{"k": {"value": big}}, []map[string]uint64{{"key": big}, {}}, []map[string]uint64{{"k": big}},
		map[string]*pair{"k": &p, "none": nil}, nil}
	const group = `{"m":2147483655,"n":9223372036854775813,"s":"x"}`
	want := `{"again":[{"k":9223372036854775813}],"big":{"9223372036854775813":9223372036854775813},"bool":{"true":"t"},"deep":{"k":{"value":9223372036854775813}},"empty":{},"float":{"1.5":-2},` +
		`"group":{"k":` + group + `},"groups":{"k":[` + group + `,` + group + `]},"int":{"-3":"y","65":"x"},"list":[{"key":9223372036854775813},{}],"maybe":{"k":` + group + `,"none":null},"text":{"k":"v"}}`
	path := writeParquet(t, []mapRow{row, row})
	n := 0
	for d, err := range (Sources{Paths: []string{path}, Records: true}).Documents(&Stats{}) {
		if n++; err != nil || string(d.Text) != want {
			t.Fatalf("%v\n%s, want\n%s", err, d.Text, want)
		}
	}
	if n != 2 {
		t.Errorf("%d records of 2", n)
	}
	type odd struct {
		M map[pair]string `parquet:"of_pairs"`
	}
	for _, err := range (Sources{Paths: []string{writeParquet(t, []odd{{map[pair]string{p: "x"}}})}, Records: true}).Documents(&Stats{}) {
		if err == nil || !strings.Contains(err.Error(), `the column "of_pairs" is a map whose keys are neither texts nor numbers`) {
			t.Errorf("a map with groups for keys: %v", err)
		}
	}
}

func writeParquet[T any](t *testing.T, rows []T) string {
	path := filepath.Join(t.TempDir(), "rows.parquet")
	if err := parquet.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	return path
}
