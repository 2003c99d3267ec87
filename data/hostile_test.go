package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

// one reads a single file of a name and a content.
func one(t *testing.T, name, content string, s Sources) (docs []string, stats *Stats, err error) {
	t.Helper()
	dir := tree(t, map[string]string{name: content})
	s.Paths = []string{filepath.Join(dir, name)}
	return read(s, dir)
}

// TestByteOrderMarks: with and without one, which spreadsheets write, a file holds the same record.
func TestByteOrderMarks(t *testing.T) {
	for name, content := range map[string]string{"x.csv": "prompt,n\na,1\n", "x.tsv": "prompt\tn\na\t1\n", "x.json": `[{"n":"1","prompt":"a"}]`, "x.jsonl": `{"n":"1","prompt":"a"}` + "\n"} {
		for _, mark := range []string{"", byteOrderMark} {
			docs, _, err := one(t, name, mark+content, Sources{Records: true})
			if err != nil || len(docs) != 1 || !strings.HasSuffix(docs[0], `|{"n":"1","prompt":"a"}`) {
				t.Errorf("%q: %q, %v", mark+content, docs, err)
			}
		}
	}
	text := byteOrderMark + "a\nb\n" + byteOrderMark + "c\n" // one that is not in front is a character
	var got []string
	for d, err := range (Sources{Paths: []string{filepath.Join(tree(t, map[string]string{"x.txt": text}), "x.txt")}, PieceBytes: 4}).Documents(&Stats{}) {
		if got = append(got, string(d.Text)); err != nil || !strings.HasPrefix(text[d.Offset:], string(d.Text)) {
			t.Errorf("%q at %d, %v", d.Text, d.Offset, err)
		}
	}
	if diff := cmp.Diff([]string{"a\nb\n", byteOrderMark + "c", "\n"}, got); diff != "" {
		t.Error(diff)
	}
	if _, _, err := one(t, "x.txt", byteOrderMark, Sources{}); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("a mark alone: %v", err)
	}
	if _, _, err := one(t, "x.csv", "\xef\xbb", Sources{Records: true}); err != nil { // half a mark is a column's name
		t.Error(err)
	}
}

// TestEncodingsOfRecords: UTF-16 is told by its name, whatever the format, and bytes of another encoding are counted where JSON makes U+FFFD of them.
func TestEncodingsOfRecords(t *testing.T) {
	contents := map[string]string{"x.csv": "prompt,n\na,1\n", "x.tsv": "prompt\tn\na\t1\n", "x.json": `[{"n":"1"}]`, "x.jsonl": `{"n":"1"}` + "\n"}
	for name, content := range contents {
		little, big := "\xff\xfe", "\xfe\xff"
		for _, c := range content {
			little, big = little+string(c)+"\x00", big+"\x00"+string(c)
		}
		for _, text := range []string{little, big} {
			_, _, err := one(t, name, text, Sources{Records: true})
			if err == nil || !strings.Contains(err.Error(), name+": the file is UTF-16, which has to be made UTF-8") {
				t.Errorf("%s of UTF-16: %v", name, err)
			}
		}
	}
	for name, content := range map[string]string{"x.csv": "prompt,n\nna\xefve,1\n\ufffd,2\n", "x.tsv": "prompt\tn\nna\xefve\t1\n\ufffd\t2\n", "x.txt": "na\xefve",
		"x.json": "[{\"n\":\"na\xefve\"}]", "x.jsonl": "{\"n\":\"na\xefve\"}\n"} {
		_, stats, err := one(t, name, content, Sources{Records: true})
		if err != nil || stats.InvalidUTF8 != 1 {
			t.Errorf("%s of Windows-1252: %d records are counted, %v", name, stats.InvalidUTF8, err)
		}
	}
}

// TestNothingIsLostWithoutAWord: what stands behind a list, and columns of one name, are errors.
func TestNothingIsLostWithoutAWord(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"x.json", `[{"a":1}] [{"a":2}]`, "something behind the list"},
		{"x.json", `[{"a":1}]x`, "something behind the list"},
		{"x.json", `[{"a":1}]]`, "something behind the list"},
		{"x.csv", "a,b,a\n1,2,3\n", `two columns are called "a"`},
		{"x.csv", "a,b\r1,2\r3,4\r", "x.csv: its lines end in carriage returns alone"},
		{"x.tsv", "a\tb\r1\t2\r", "x.tsv: its lines end in carriage returns alone"},
		{"x.csv", "", "is empty"},
		{"x.csv", "a,b\n1,\"2\n", "parse error"},
	} {
		_, _, err := one(t, c.name, c.text, Sources{Records: true})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.text, err, c.want)
		}
	}
	if docs, _, err := one(t, "x.csv", "a,b,,\n1,2,,\n", Sources{Records: true}); err != nil || len(docs) != 1 || !strings.Contains(docs[0], `"a":"1"`) {
		t.Errorf("columns without a name: %q, %v", docs, err)
	}
	if docs, _, err := one(t, "x.json", "[{\"a\":1}] \n\t ", Sources{Records: true}); err != nil || len(docs) != 1 {
		t.Errorf("white space behind the list: %q, %v", docs, err)
	}
}

// TestDamagedRecordsAreSkipped: with on_bad_file=skip a file of records counts as unreadable from its damage on, packed or not.
func TestDamagedRecordsAreSkipped(t *testing.T) {
	long := `[{"a":"` + strings.Repeat("some text ", 40_000) + `"},{"a":"b"}]`
	packed := gz(long)
	for name, c := range map[string]struct {
		content string
		docs    int
	}{
		"syntax.json": {`[{"a":1},{"a":2},{`, 2}, "open.json": {`[{"a":1}`, 1}, "object.json": {`{"a":1}`, 0}, "two.json": {`[{"a":1}][{"a":2}]`, 1}, "none.json": {`x`, 0},
		"cut.json.gz": {packed[:len(packed)-9], -1}, "quote.csv": {"a,b\n1,2\n3,\"4\n", 1}, "twice.csv": {"a,a\n1,2\n", 0}, "head.tsv.gz": {gz("a\tb\n")[:12], 0},
	} {
		docs, stats, err := one(t, name, c.content, Sources{Records: true, OnBadFile: SkipBadRecord})
		if err != nil || c.docs >= 0 && len(docs) != c.docs || stats.Skipped[Unreadable] != 1 || len(stats.Unreadable) != 1 || !strings.Contains(stats.Unreadable[0], name) {
			t.Errorf("%s: %d documents, %+v, %v", name, len(docs), stats, err)
		}
		if _, _, err := one(t, name, c.content, Sources{Records: true, OnBadFile: FailOnBadRecord}); err == nil || !strings.Contains(err.Error(), "set on_bad_file=skip") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManyMembers: a packed file may be several put together, some of them empty, as log rotation and parallel packers make them.
func TestManyMembers(t *testing.T) {
	want := "first\n" + strings.Repeat("x", 3000) + "\nlast"
	skippable := string(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x184D2A50), 3)) + "abc" // RFC 8878, 3.1.2
	for name, content := range map[string]string{
		"x.txt.gz":  gz("first\n") + strings.Repeat(gz(""), 300) + gz(strings.Repeat("x", 3000)) + gz("\nlast"),
		"x.txt.zst": zst("first\n") + skippable + zst(strings.Repeat("x", 3000)) + zst("\nlast"),
	} {
		docs, _, err := one(t, name, content, Sources{})
		if err != nil || len(docs) != 1 || docs[0] != name+":1|"+want {
			t.Errorf("%s: %.60q, %v", name, docs, err)
		}
		if _, _, err := one(t, name, content+"garbage", Sources{}); err == nil || !strings.Contains(err.Error(), "compressed file") {
			t.Errorf("%s with something behind: %v", name, err)
		}
	}
}

// TestZerosBehindMembers: zeros behind a gzip member are nothing, as for gzip itself: the last line stays, and so does a member behind them.
func TestZerosBehindMembers(t *testing.T) {
	for _, zeros := range []int{1, 9, 10, 4096, 10_000} {
		pad := strings.Repeat("\x00", zeros)
		docs, _, err := one(t, "x.jsonl.gz", gz(`{"text":"a"}`+"\n")+pad+gz(`{"text":"b"}`)+pad, Sources{})
		if diff := cmp.Diff([]string{"x.jsonl.gz:1|a", "x.jsonl.gz:2|b"}, docs); diff != "" || err != nil {
			t.Errorf("%d zeros: %v %s", zeros, err, diff)
		}
		if _, _, err := one(t, "x.txt.gz", gz("a")+pad+"b", Sources{}); err == nil || !strings.Contains(err.Error(), "compressed file") {
			t.Errorf("%d zeros with something behind: %v", zeros, err)
		}
	}
}

// TestWindowsOfZstd: a frame that asks for a window beyond the bound is refused before memory for it is taken.
func TestWindowsOfZstd(t *testing.T) {
	frame := func(exponent byte) string { // RFC 8878, 3.1.1: magic, descriptor without a size, window of 2^(10+exponent), a raw last block of one byte
		return "\x28\xb5\x2f\xfd\x00" + string([]byte{exponent << 3}) + "\x09\x00\x00a"
	}
	if docs, _, err := one(t, "x.txt.zst", frame(10), Sources{}); err != nil || len(docs) != 1 || !strings.HasSuffix(docs[0], "|a") {
		t.Errorf("a window of 1 MiB: %q, %v", docs, err)
	}
	for _, exponent := range []byte{19, 24, 31} {
		if _, _, err := one(t, "x.txt.zst", frame(exponent), Sources{}); err == nil || !strings.Contains(err.Error(), "cannot be unpacked") {
			t.Errorf("a window of 2^%d bytes: %v", 10+int(exponent), err)
		}
	}
}

// TestRatioOfPackedFiles: at the bound a file is read, just past it not, and small files may have any ratio.
func TestRatioOfPackedFiles(t *testing.T) {
	for _, c := range []struct {
		unpacked, packed, limit int
		bomb                    bool
	}{{ratioStart, 1, 1, false}, {ratioStart + 1000, (ratioStart + 1000) / 10, 10, false}, {ratioStart + 1000, (ratioStart+1000)/10 - 1, 10, true}} {
		r := &ratioReader{in: &countingReader{n: int64(c.packed)}, out: strings.NewReader("x"), n: int64(c.unpacked) - 1, limit: int64(c.limit)}
		if _, err := r.Read(make([]byte, 1)); (err != nil) != c.bomb {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestParquetColumns reads texts stored in every way that the writer knows, across pages and row groups, and refuses columns that hold no text.
func TestParquetColumns(t *testing.T) {
	type row struct {
		Plain  string   `parquet:"plain,plain"`
		Dict   string   `parquet:"dict,dict,gzip"`
		Delta  string   `parquet:"delta,delta,zstd"`
		Raw    []byte   `parquet:"raw,snappy"`
		Fixed  [4]byte  `parquet:"fixed"`
		Maybe  *string  `parquet:"maybe,optional,brotli"`
		List   []string `parquet:"list"`
		Number int64    `parquet:"number"`
		Inner  struct {
			Text string `parquet:"text"`
		} `parquet:"inner"`
	}
	const n = 700
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.MaxRowsPerRowGroup(300), parquet.PageBufferSize(1000))
	var want []string
	for i := range n {
		text := fmt.Sprintf("%04d", i)
		r := row{Plain: text, Dict: text, Delta: text, Raw: []byte(text), Maybe: &text, List: []string{"a", "b"}}
		copy(r.Fixed[:], text)
		r.Inner.Text = text
		if _, err := w.Write([]row{r}); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("x.parquet:%d|%s", i+1, text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"plain", "dict", "delta", "raw", "fixed", "maybe"} {
		docs, _, err := one(t, "x.parquet", b.String(), Sources{Field: field})
		if diff := cmp.Diff(want, docs); diff != "" || err != nil {
			t.Errorf("%s: %v %s", field, err, diff)
		}
	}
	for field, want := range map[string]string{"list": "not text; set text_field to one of: ", "number": "not text; set text_field to one of: ", "inner": "inner", "nothing": "set text_field to one of: "} {
		if docs, _, err := one(t, "x.parquet", b.String(), Sources{Field: field}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d documents, %v", field, len(docs), err)
		}
	}
	if docs, stats, err := one(t, "x.parquet", b.String(), Sources{Field: "plain", MaxRecord: 3, OnBadRecord: SkipBadRecord}); err != nil || len(docs) > 0 || stats.Skipped[TooLong] != n {
		t.Errorf("texts of four bytes where three are the most: %d, %+v, %v", len(docs), stats, err)
	}
	if docs, _, err := one(t, "x.parquet", b.String(), Sources{Records: true, MaxRecord: 10}); err == nil || !strings.Contains(err.Error(), "x.parquet:1: the record is longer than 10 bytes") {
		t.Errorf("records of more than ten bytes: %d, %v", len(docs), err)
	}
	docs, _, err := one(t, "x.parquet", b.String(), Sources{Records: true})
	if err != nil || len(docs) != n || !strings.Contains(docs[n-1], `"delta":"0699"`) || !strings.Contains(docs[n-1], `"list":["a","b"]`) || !strings.Contains(docs[n-1], `"inner":{"text":"0699"}`) {
		t.Errorf("%d records, the last %s, %v", len(docs), docs[len(docs)-1], err)
	}
}

// TestParquetByLZ4: a file of which the values would be others without a word is refused, whichever column is packed so.
func TestParquetByLZ4(t *testing.T) {
	type row struct {
		Text  string `parquet:"text"`
		Other []byte `parquet:"other,lz4"`
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, []row{{"a", []byte("b")}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Sources{{}, {Records: true}} {
		if docs, _, err := one(t, "x.parquet", b.String(), s); err == nil || !strings.Contains(err.Error(), "read x.parquet: it is packed by LZ4") {
			t.Errorf("records %v: %q, %v", s.Records, docs, err)
		}
	}
}

// TestParquetNumbersThatJSONLacks: what is no number, as it stands for a missing one in some files, is null, and the row is not lost.
func TestParquetNumbersThatJSONLacks(t *testing.T) {
	type inner struct {
		Score float32 `parquet:"score"`
	}
	type row struct {
		Text   string    `parquet:"text"`
		Margin float64   `parquet:"margin"`
		Scores []float64 `parquet:"scores"`
		Inner  []inner   `parquet:"inner"`
	}
	var b bytes.Buffer
	nan, inf := math.NaN(), math.Inf(-1)
	if err := parquet.Write(&b, []row{{"a", nan, []float64{1, inf}, []inner{{float32(nan)}, {2}}}, {"b", 0.5, []float64{}, []inner{}}}); err != nil {
		t.Fatal(err)
	}
	docs, _, err := one(t, "x.parquet", b.String(), Sources{Records: true})
	want := []string{`x.parquet:1|{"inner":[{"score":null},{"score":2}],"margin":null,"scores":[1,null],"text":"a"}`, `x.parquet:2|{"inner":[],"margin":0.5,"scores":[],"text":"b"}`}
	if diff := cmp.Diff(want, docs); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// TestParquetNumbersWithoutSign: numbers from 2^63 on, and of columns of 32 bits from 2^31 on, are what they are: in records wherever they stand, and as names.
func TestParquetNumbersWithoutSign(t *testing.T) {
	type inner struct {
		U uint64 `parquet:"u"`
	}
	type row struct {
		ID     uint64            `parquet:"id"`
		Small  uint32            `parquet:"small"`
		Signed int64             `parquet:"signed"`
		List   []uint64          `parquet:"list,list"`
		Many   []uint64          `parquet:"many"`
		Maybe  *uint64           `parquet:"maybe,optional"`
		Group  inner             `parquet:"group"`
		Groups []inner           `parquet:"groups,list"`
		Map    map[string]uint64 `parquet:"map"`
		Text   string            `parquet:"text"`
	}
	x := uint64(1<<64 - 3)
	var b bytes.Buffer
	rows := []row{{x, 1<<32 - 3, -3, []uint64{x}, []uint64{1, x}, &x, inner{x}, []inner{{x}}, map[string]uint64{"k": x}, "a"}, {ID: 7, Small: 8, Text: "b"}}
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	const n = "18446744073709551613"
	want := []string{`x.parquet:1|{"group":{"u":` + n + `},"groups":[{"u":` + n + `}],"id":` + n + `,"list":[` + n + `],"many":[1,` + n + `],"map":{"k":` + n + `},"maybe":` + n +
		`,"signed":-3,"small":4294967293,"text":"a"}`, `x.parquet:2|{"group":{"u":0},"groups":[],"id":7,"list":[],"many":[],"map":{},"maybe":null,"signed":0,"small":8,"text":"b"}`}
	docs, _, err := one(t, "x.parquet", b.String(), Sources{Records: true})
	if diff := cmp.Diff(want, docs); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	dir := tree(t, map[string]string{"x.parquet": b.String()})
	var got []string
	for _, field := range []string{"id", "small", "signed", "group.u"} {
		for d, err := range (Sources{Paths: []string{dir}, IDField: field}).Documents(&Stats{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, d.ID)
		}
	}
	if diff := cmp.Diff([]string{n, "7", "4294967293", "8", "-3", "0", "", ""}, got); diff != "" {
		t.Error(diff)
	}
}

// TestDamagedParquet: whichever byte of a file is changed, reading it ends, with the rows or an error.
func TestDamagedParquet(t *testing.T) {
	sound := pq("a text", "another", "NULL", "the last")
	step := 4
	if testing.Short() {
		step = 29
	}
	dir := t.TempDir()
	failed := 0
	for i := 4; i < len(sound)-4; i += step {
		damaged := []byte(sound)
		damaged[i] ^= 0xff
		path := filepath.Join(dir, "x.parquet")
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, records := range []bool{false, true} {
			docs, _, err := read(Sources{Paths: []string{path}, OnBadRecord: SkipBadRecord, Records: records}, dir)
			if err != nil {
				failed++
			}
			if len(docs) > 100 {
				t.Errorf("byte %d changed: %d documents", i, len(docs))
			}
		}
	}
	if failed == 0 {
		t.Error("no damage was found")
	}
}

// TestStatsAddUp: counts of several readings are added, and of what is wrong no more than so many are named.
func TestStatsAddUp(t *testing.T) {
	a := Stats{Files: 1, Documents: 2, Bytes: 3, InvalidUTF8: 1, Skipped: map[Reason]int{Empty: 1}, Unreadable: []string{"a"}, BadRecords: []string{"c"}}
	b := Stats{Files: 10, Documents: 20, Bytes: 30, InvalidUTF8: 2, Skipped: map[Reason]int{Empty: 2, Binary: 5}, Unreadable: []string{"b"}}
	for i := range named + 5 {
		b.BadRecords = append(b.BadRecords, fmt.Sprint(i))
	}
	a.Add(&b)
	want := Stats{Files: 11, Documents: 22, Bytes: 33, InvalidUTF8: 3, Skipped: map[Reason]int{Empty: 3, Binary: 5}, Unreadable: []string{"a", "b"}, BadRecords: append([]string{"c"}, b.BadRecords[:named-1]...)}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	if got, want := a.String(), "22 documents, 33 bytes from 11 files; 3 with invalid UTF-8 (kept as bytes); skipped 5 binary files, 3 empty files or records"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var none Stats
	none.skip(Empty, 0)
	if none.Skipped != nil || none.String() != "0 documents, 0 bytes from 0 files" {
		t.Errorf("nothing is %q", none.String())
	}
}

// TestLongPrompts: a line is one prompt, also one that is longer than the pieces in which a small text file comes.
func TestLongPrompts(t *testing.T) {
	long := strings.Repeat("a long question ", 1000)
	dir := tree(t, map[string]string{"p.txt": "short\n" + long + "\nlast"})
	var got []string
	for p, err := range Prompts(Sources{Paths: []string{filepath.Join(dir, "p.txt")}}, &Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Prompt)
	}
	if diff := cmp.Diff([]string{"short", long, "last"}, got); diff != "" {
		t.Error(diff)
	}
}
