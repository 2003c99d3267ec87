package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func zst(s string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(s), nil))
}

func pq(texts ...string) string {
	type row struct {
		ID   int64    `parquet:"id"`
		Text *string  `parquet:"text,optional,snappy,dict"`
		Tags []string `parquet:"tags,list"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.MaxRowsPerRowGroup(2))
	for i, t := range texts {
		r := row{ID: int64(i), Tags: []string{"a", "b"}}
		if t != "NULL" {
			r.Text = &t
		}
		w.Write([]row{r})
	}
	w.Close()
	return b.String()
}

// tree writes files below a new folder; a value "-> X" makes a link to X.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read returns "place|text" of each document, with the folder removed from places and messages.
func read(s Sources, dir string) (docs []string, stats *Stats, err error) {
	stats = &Stats{}
	for d, e := range s.Documents(stats) {
		if e != nil {
			return docs, stats, fmt.Errorf("%s", strings.ReplaceAll(e.Error(), dir+string(filepath.Separator), ""))
		}
		text := strings.TrimPrefix(d.Place(), dir+string(filepath.Separator)) + "|" + string(d.Text)
		if d.Continued {
			text += "..."
		}
		docs = append(docs, text)
	}
	return docs, stats, nil
}

func TestSourcesFormats(t *testing.T) {
	const lines = `{"text": "one", "n": {"text": "inner"}}` + "\r\n\n" + `{"a": [1, {"b": "]"}], "text": "t\u0077o\n"}` + "\n"
	dir := tree(t, map[string]string{
		"a.txt": "plain", "b.go": "package b\n", "c.txt.gz": gz("zipped"), "d.md.zst": zst("squeezed"),
		"e.jsonl": lines, "f.JSONL.gz": gz(lines), "g.ndjson.zst": zst(lines),
		"h.parquet": pq("row1", "row2", "row3"), "i.parquet.zst": zst(pq("row")),
		"sub/deep/j": "no extension", "sub/k.txt": "bad \xff\xfe utf-8",
		"empty.txt": "", "emptier.txt.gz": gz(""), "image.png": "\x89PNG\x00\x00", "m.jsonl": `{"text": ""}`,
		".git/config": "hidden", ".hidden": "hidden",
	})
	docs, stats, err := read(Sources{Paths: []string{dir}}, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a.txt:1|plain", "b.go:1|package b\n", "c.txt.gz:1|zipped", "d.md.zst:1|squeezed",
		"e.jsonl:1|one", "e.jsonl:3|two\n", "f.JSONL.gz:1|one", "f.JSONL.gz:3|two\n", "g.ndjson.zst:1|one", "g.ndjson.zst:3|two\n",
		"h.parquet:1|row1", "h.parquet:2|row2", "h.parquet:3|row3", "i.parquet.zst:1|row",
		"sub/deep/j:1|no extension", "sub/k.txt:1|bad \xff\xfe utf-8",
	}
	if diff := cmp.Diff(want, docs); diff != "" {
		t.Error(diff)
	}
	wantStats := &Stats{Files: 12, Documents: 16, InvalidUTF8: 1, Skipped: map[Reason]int{Empty: 3, Binary: 1, Hidden: 2}}
	for _, d := range want {
		_, text, _ := strings.Cut(d, "|")
		wantStats.Bytes += int64(len(text))
	}
	if diff := cmp.Diff(wantStats, stats); diff != "" {
		t.Error(diff)
	}
	t.Log(stats)
}

func TestSourcesPaths(t *testing.T) {
	dir := tree(t, map[string]string{
		"x/1.go": "1", "x/2.txt": "2", "x/y/3.go": "3", "x/y/z/4.go": "4", "x/.h/5.go": "5", "x/we[i]rd/6.go": "6",
		"x/up": "-> ..", "x/self": "-> self", "x/nowhere": "-> missing", "x/y/again.go": "-> ../1.go", "linked": "-> x/y",
	})
	cases := []struct {
		paths []string
		want  string
	}{
		{[]string{"x"}, "1 2 3 4 6"},
		{[]string{"x/y", "x"}, "3 1 4 2 6"}, // again.go is 1.go, met first
		{[]string{"x/*.go"}, "1"},
		{[]string{"x/**/*.go"}, "1 6 3 4"},
		{[]string{"x/**/4.go", "x/**/3.go"}, "4 3"},
		{[]string{"x/2.txt", "x/2.txt", "x/*.txt"}, "2"},
		{[]string{"linked"}, "3 1 4"},
	}
	for _, c := range cases {
		var paths, got []string
		for _, p := range c.paths {
			paths = append(paths, filepath.Join(dir, p))
		}
		for d, err := range (Sources{Paths: paths}).Documents(&Stats{}) {
			if err != nil {
				t.Fatal(c.paths, err)
			}
			got = append(got, string(d.Text))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%v: got %s, want %s", c.paths, g, c.want)
		}
	}
}

func TestSourcesErrors(t *testing.T) {
	bomb := gz(strings.Repeat("0", ratioStart+1<<20))
	dir := tree(t, map[string]string{
		"empty.txt": "", "empty.gz": gz(""), "bin.txt": "a\x00b", "wide.txt": "\xff\xfea\x00", "folder/.only": "hidden",
		"bad.jsonl": "{\"text\": \"ok\"}\n{\"text\": \n", "array.jsonl": "[1]\n", "number.jsonl": "{\"text\": 3}\n", "key.jsonl": "{\"body\": \"x\", \"n\": 1, \"title\": \"y\"}\n",
		"long.jsonl": "{\"text\": \"ok\"}\n" + strings.Repeat("x", 300000) + "\n{\"text\": \"after\"}",
		"cut.txt.gz": gz(strings.Repeat("abcdefgh", 100))[:30], "cut.txt.zst": zst(strings.Repeat("abcdefgh", 100))[:15], "not.gz": "plain text, not gzip", "bomb.gz": bomb,
		"not.parquet": "plain text", "cut.parquet": pq("a", "b")[:100], "null.parquet": pq("a", "NULL"), "good.parquet": pq("a"),
	})
	cases := []struct {
		path    string
		s       Sources
		want    string
		skipped map[Reason]int // with on_bad_record skip; nil if it stays an error
	}{
		{"missing.txt", Sources{}, "there is no file or folder missing.txt", nil},
		{"*.nothing", Sources{}, "no file matches", nil},
		{"folder", Sources{}, "no files to read in", nil},
		{"empty.txt", Sources{}, "empty.txt: the file is empty", nil},
		{"empty.gz", Sources{}, "empty.gz: the file is empty", nil},
		{"bin.txt", Sources{}, "bin.txt: the file is binary", nil},
		{"wide.txt", Sources{}, "wide.txt: the file is UTF-16, which has to be made UTF-8", nil},
		{"wide.txt", Sources{}, "wide.txt: the file is UTF-16, which has to be made UTF-8", nil},
		{"bad.jsonl", Sources{}, "bad.jsonl:2: not valid JSON", map[Reason]int{Malformed: 1}},
		{"array.jsonl", Sources{}, `array.jsonl:1: no text under the key "text"`, map[Reason]int{NoText: 1}},
		{"number.jsonl", Sources{}, `number.jsonl:1: no text under the key "text"`, map[Reason]int{NoText: 1}},
		{"key.jsonl", Sources{}, `key.jsonl:1: no text under the key "text"; repair`, map[Reason]int{NoText: 1}},
		{"key.jsonl", Sources{Field: "other"}, `key.jsonl:1: no text under the key "other", but under body, title, which text_field can name; repair it or take it out`, map[Reason]int{NoText: 1}},
		{"long.jsonl", Sources{MaxRecord: 1000}, "long.jsonl:2: the line is longer than 1000 bytes", map[Reason]int{TooLong: 1}},
		{"cut.txt.gz", Sources{}, "cut.txt.gz: the compressed file is cut short", nil},
		{"cut.txt.zst", Sources{}, "cut.txt.zst: the compressed file is cut short", nil},
		{"not.gz", Sources{}, "not.gz: the compressed file cannot be unpacked", nil},
		{"bomb.gz", Sources{}, "bomb.gz: unpacks to more than 1000 times", nil},
		{"not.parquet", Sources{}, "not.parquet: not a Parquet file", nil},
		{"cut.parquet", Sources{}, "cut.parquet: not a Parquet file", nil},
		{"null.parquet", Sources{}, `null.parquet:2: no text in the column "text"`, map[Reason]int{NoText: 1}},
		{"good.parquet", Sources{Field: "body"}, `no column "body"; set text_field to one of: id, text, tags`, nil},
		{"good.parquet", Sources{Field: "id"}, `the column "id" holds`, nil},
		{"good.parquet", Sources{Field: "tags"}, `the column "tags" holds lists or groups, not text`, nil},
		{"good.parquet", Sources{OnBadRecord: "ignore"}, "on_bad_record", nil},
	}
	for _, c := range cases {
		c.s.Paths = []string{filepath.Join(dir, c.path)}
		_, _, err := read(c.s, dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", c.path, err, c.want)
		}
		if c.s.OnBadRecord != "" {
			continue
		}
		c.s.OnBadRecord = SkipBadRecord
		_, stats, err := read(c.s, dir)
		if c.skipped == nil && err == nil {
			t.Errorf("%s: skipping bad records hides the error", c.path)
		}
		if c.skipped != nil && (err != nil || !cmp.Equal(stats.Skipped, c.skipped)) {
			t.Errorf("%s: skipped %v with error %v, want %v", c.path, stats.Skipped, err, c.skipped)
		}
	}
}

// A broken compressed stream must not pass for a shorter text.
func TestCutCompressedFiles(t *testing.T) {
	long := strings.Repeat("some text that is not just one letter\n", 5000)
	for name, packed := range map[string]string{"x.txt.gz": gz(long), "x.txt.zst": zst(long), "x.jsonl.gz": gz(`{"text": "` + strings.Repeat("y", 9999) + `"}`)} {
		for _, keep := range []int{len(packed) - 1, len(packed) / 2, 5} {
			dir := tree(t, map[string]string{name: packed[:keep]})
			if _, _, err := read(Sources{Paths: []string{dir}}, dir); err == nil {
				t.Errorf("%s cut to %d of %d bytes was read without an error", name, keep, len(packed))
			}
		}
	}
}

func TestPieces(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "line %d: ä text of some length\n", i)
		if i%17 == 0 {
			b.WriteString("\n")
		}
	}
	text := b.String()
	cases := map[string]string{
		"lines": text, "one line": strings.ReplaceAll(text, "\n", " "), "multibyte": strings.Repeat("äöü€", 9000),
		"no UTF-8": strings.Repeat("\x80", 30000), "exactly one": strings.Repeat("x", 4096), "one more": strings.Repeat("x", 4097),
	}
	for name, text := range cases {
		for _, pack := range []func(string) string{func(s string) string { return s }, gz} {
			file := "x.txt"
			if packed := pack(text); packed != text {
				file = "x.txt.gz"
			}
			dir := tree(t, map[string]string{file: pack(text)})
			got, n := "", 0
			s := Sources{Paths: []string{dir}, PieceBytes: 4096}
			for d, err := range s.Documents(&Stats{}) {
				if err != nil {
					t.Fatal(name, err)
				}
				got += string(d.Text)
				n++
				if len(d.Text) > 4096 || d.Record != n || d.Continued != (len(got) < len(text)) {
					t.Errorf("%s: piece %d of %d bytes, continued %v", name, d.Record, len(d.Text), d.Continued)
				}
				if name == "lines" && d.Continued && !strings.HasSuffix(got, "\n\n") {
					t.Errorf("piece %d is not cut at an empty line", n)
				}
				if utf8.ValidString(text) && !utf8.Valid(d.Text) {
					t.Errorf("%s: piece %d is cut inside a character", name, n)
				}
			}
			if got != text {
				t.Errorf("%s: the pieces are not the text", name)
			}
		}
	}
	dir := tree(t, map[string]string{"x.txt": text})
	docs, _, _ := read(Sources{Paths: []string{dir}}, dir)
	if len(docs) < 20 {
		t.Errorf("a single file came as %d documents: nothing to hold out", len(docs))
	}
}

func TestKeyChanges(t *testing.T) {
	dir := tree(t, map[string]string{"a.txt": "a", "b.txt": "b"})
	get := func(s Sources) string {
		s.Paths = []string{dir}
		k, err := s.Key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := get(Sources{})
	if get(Sources{Field: "text", OnBadRecord: FailOnBadRecord}) != first {
		t.Error("defaults written out change the key")
	}
	if get(Sources{Field: "x"}) == first || get(Sources{PieceBytes: 5}) == first {
		t.Error("options do not change the key")
	}
	if err := os.WriteFile(filepath.Join(dir, "b.txt"), []byte("bb"), 0o644); err != nil {
		t.Fatal(err)
	}
	if get(Sources{}) == first {
		t.Error("a changed file does not change the key")
	}
}

// A file written by another implementation: dictionary pages, snappy, nulls, several row groups.
func TestForeignParquet(t *testing.T) {
	docs, stats, err := read(Sources{Paths: []string{"testdata/pyarrow.parquet"}, OnBadRecord: SkipBadRecord}, "testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) != 6 || docs[0] != "pyarrow.parquet:1|first" || docs[1] != "pyarrow.parquet:3|grüße" || docs[5] != "pyarrow.parquet:7|first" {
		t.Errorf("got %q", docs)
	}
	if stats.Skipped[NoText] != 1 {
		t.Errorf("%v", stats)
	}
}

func FuzzJSONText(f *testing.F) {
	for _, s := range []string{`{"text": "a"}`, `{"a":{"text":1},"text":"\ud83d\ude00\u00e4\/"}`, `{ "text" : null }`, `{}`, `{"text":"\ud800"}`, `{"t\u0065xt":"x","text":"y"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		line = bytes.Trim(line, " \t\r\n")
		if len(line) == 0 || !json.Valid(line) {
			return
		}
		got, ok := jsonText(line, "text")
		var ref map[string]any
		if json.Unmarshal(line, &ref) != nil {
			if ok {
				t.Fatalf("%q: found text in what is no object", line)
			}
			return
		}
		want, wantOK := ref["text"].(string)
		if ok != wantOK || (utf8.Valid(line) && string(got) != want) {
			t.Fatalf("%q: got %q %v, want %q %v", line, got, ok, want, wantOK)
		}
	})
}

func FuzzSources(f *testing.F) {
	f.Add("x.jsonl", []byte(`{"text": "a"}`+"\n{"))
	f.Add("x.txt.gz", []byte(gz("text")))
	f.Add("x.txt.zst", []byte(zst("text")))
	f.Add("x.parquet", []byte(pq("a", "NULL", "b")))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		if len(name) == 0 || len(name) > 50 || strings.ContainsAny(name, "/\x00") || name[0] == '.' {
			return
		}
		dir := tree(t, map[string]string{"d/" + name: string(content)})
		s := Sources{Paths: []string{dir}, OnBadRecord: SkipBadRecord, MaxRecord: 1 << 16}
		for range s.Documents(&Stats{}) {
		}
	})
}
