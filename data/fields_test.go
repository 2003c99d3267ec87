package data

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

// TestSourcesFields: where a document was found and its name come along, from JSON and from Parquet.
func TestSourcesFields(t *testing.T) {
	type row struct {
		ID   int64   `parquet:"id"`
		URL  *string `parquet:"url,optional"`
		Text string  `parquet:"text"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.MaxRowsPerRowGroup(100))
	for i := range 700 { // more than is read at a time
		r := row{ID: int64(i), Text: "x"}
		if i%3 == 0 {
			url := strings.Repeat("u", i%5)
			r.URL = &url
		}
		w.Write([]row{r})
	}
	w.Close()
	dir := tree(t, map[string]string{
		"a.jsonl":   `{"url": "http://\u0061", "text": "x", "id": 17}` + "\n" + `{"text": "y", "url": null, "id": {"a": 1}}` + "\n",
		"b.parquet": b.String(), "c.txt": "plain", "d.parquet": pq("no url there"),
	})
	var got [][2]string
	for d, err := range (Sources{Paths: []string{dir}, URLField: "url", IDField: "id"}).Documents(&Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, [2]string{d.URL, d.ID})
	}
	want := [][2]string{{"http://a", "17"}, {"", ""}}
	for i := range 700 {
		url := ""
		if i%3 == 0 {
			url = strings.Repeat("u", i%5)
		}
		want = append(want, [2]string{url, strconv.Itoa(i)})
	}
	want = append(want, [2]string{"", ""}, [2]string{"", "0"})
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestUnreadableFilesAreSkippedAndNamed: with on_bad_file=skip a damaged file costs only what is behind the damage.
func TestUnreadableFilesAreSkippedAndNamed(t *testing.T) {
	long := strings.Repeat(`{"text": "`+strings.Repeat("some text ", 50)+`"}`+"\n", 5000)
	packed := gz(long)
	dir := tree(t, map[string]string{
		"a.jsonl": `{"text": "before"}`, "b.jsonl.gz": packed[:len(packed)-9], "c.txt.gz": "no gzip", "d.parquet": pq("a", "b")[:100],
		"e.parquet.gz": "no gzip", "f.gz": gz(strings.Repeat("\x01", 70<<20)), "g.jsonl": `{"text": "after"}`,
	})
	docs, stats, err := read(Sources{Paths: []string{dir}, OnBadFile: SkipBadRecord}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if docs[0] != "a.jsonl:1|before" || docs[len(docs)-1] != "g.jsonl:1|after" || len(docs) < 1000 {
		t.Errorf("%d documents, the last %.40q", len(docs), docs[len(docs)-1])
	}
	if stats.Skipped[Unreadable] != 5 || len(stats.Unreadable) != 5 {
		t.Errorf("%v", stats)
	}
	for i, name := range []string{"b.jsonl.gz", "c.txt.gz", "d.parquet", "e.parquet.gz", "f.gz"} {
		if !strings.Contains(stats.Unreadable[i], name) || strings.Contains(stats.Unreadable[i], "\n") {
			t.Errorf("%q does not name %s", stats.Unreadable[i], name)
		}
	}
	for policy, want := range map[BadRecord]string{FailOnBadRecord: "set on_bad_file=skip", "": "repair it or leave it out"} {
		if _, _, err := read(Sources{Paths: []string{dir}, OnBadFile: policy}, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with the policy %q: %v", policy, err)
		}
	}
}

// TestEntriesThatCannotBeReadAreSkippedAndNamed: a link that the system does not follow stands for a folder without permission.
func TestEntriesThatCannotBeReadAreSkippedAndNamed(t *testing.T) {
	dir := tree(t, map[string]string{"a.jsonl": `{"text": "before"}`, "z.jsonl": `{"text": "after"}` + "\n{broken\n"})
	if err := os.Symlink(strings.Repeat("x", 300), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s := Sources{Paths: []string{dir}, OnBadFile: SkipBadRecord, OnBadRecord: SkipBadRecord}
	docs, stats, err := read(s, dir)
	if err != nil || len(docs) != 2 || stats.Skipped[Unreadable] != 1 || len(stats.Unreadable) != 1 || !strings.Contains(stats.Unreadable[0], "link") {
		t.Errorf("%q, %+v, %v", docs, stats, err)
	}
	if stats.Skipped[Malformed] != 1 || len(stats.BadRecords) != 1 || !strings.Contains(stats.BadRecords[0], "z.jsonl:2: not valid JSON") {
		t.Errorf("%+v", stats)
	}
	s.OnBadFile = FailOnBadRecord
	if _, _, err := read(s, dir); err == nil || !strings.Contains(err.Error(), "link") {
		t.Errorf("error %v", err)
	}
}

// TestNamedFilesAreSkipped: with on_bad_file=skip, files and folders without text that a user names are counted as those found in a folder are.
func TestNamedFilesAreSkipped(t *testing.T) {
	dir := tree(t, map[string]string{"a.jsonl": `{"text": "before"}`, "empty.jsonl": "", "empty.gz": gz(""), "bin.txt": "a\x00b", "z.jsonl": `{"text": "after"}`})
	if err := os.Symlink(strings.Repeat("x", 300), filepath.Join(dir, "closed")); err != nil { // stands for a folder without permission
		t.Fatal(err)
	}
	s := Sources{OnBadFile: SkipBadRecord}
	for _, name := range []string{"a.jsonl", "empty.jsonl", "empty.gz", "bin.txt", "closed", "z.jsonl"} {
		s.Paths = append(s.Paths, filepath.Join(dir, name))
	}
	docs, stats, err := read(s, dir)
	want := map[Reason]int{Empty: 2, Binary: 1, Unreadable: 1}
	if d := cmp.Diff(want, stats.Skipped); err != nil || len(docs) != 2 || d != "" {
		t.Errorf("%q with error %v: %s", docs, err, d)
	}
	for _, i := range []int{1, 3, 4} {
		one := Sources{Paths: s.Paths[i : i+1], OnBadFile: FailOnBadRecord}
		if _, _, err := read(one, dir); err == nil || i < 4 && !strings.Contains(err.Error(), "or set on_bad_file=skip") {
			t.Errorf("%s: error %v", s.Paths[i], err)
		}
	}
}

// TestSourcesOffsets: a document's offset is where its line or piece begins in the unpacked file.
func TestSourcesOffsets(t *testing.T) {
	lines := "\ufeff{\"text\": \"a\"}\r\n\n  {\"text\": \"" + strings.Repeat("b", 600_000) + "\"}\n{\"text\": \"" + strings.Repeat("l", 700_000) + "\"}\n{\"text\": \"c\"}\n{\"text\": \"d\"}"
	long := strings.Repeat("a line of text\n", 30_000)
	files := map[string]string{"a.jsonl": lines, "b.jsonl.gz": lines, "c.txt": long, "d.txt.zst": long, "e.parquet": pq("row")}
	packed := map[string]string{"a.jsonl": lines, "b.jsonl.gz": gz(lines), "c.txt": long, "d.txt.zst": zst(long), "e.parquet": files["e.parquet"]}
	dir := tree(t, packed)
	n := 0
	for d, err := range (Sources{Paths: []string{dir}, OnBadRecord: SkipBadRecord, MaxRecord: 650_000, PieceBytes: 100_000}).Documents(&Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		name := strings.TrimPrefix(d.Source, dir+"/")
		if name == "e.parquet" {
			if d.Offset != -1 || d.Record != 1 {
				t.Errorf("a row of Parquet has offset %d and record %d", d.Offset, d.Record)
			}
			continue
		}
		begin := string(d.Text)
		if strings.Contains(name, "jsonl") {
			begin = `{"text": "` + begin + `"}`
		}
		if at := strings.TrimLeft(files[name][d.Offset:], " \ufeff"); !strings.HasPrefix(at, begin) {
			t.Errorf("%s: at offset %d stands %.20q", d.Place(), d.Offset, at)
		}
	}
	if want := 4 + 4 + 5 + 5 + 1; n != want {
		t.Errorf("%d documents, want %d", n, want)
	}
}
