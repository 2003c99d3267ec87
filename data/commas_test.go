package data

import (
	"encoding/csv"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCommasReadAsTheLibrary: rows, their lines and where an error stands are encoding/csv's for any arrangement of marks, commas and line ends.
func TestCommasReadAsTheLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	parts := []string{"a", ",", "\"", "\n", "\r\n", "\"\"", "x,\"y\"", "\r", " ", "\"q\nr\""}
	for range 2_000 {
		var b strings.Builder
		for range r.IntN(14) {
			b.WriteString(parts[r.IntN(len(parts))])
		}
		library := csv.NewReader(strings.NewReader(b.String()))
		library.FieldsPerRecord = -1
		for c := newCommas(strings.NewReader(b.String()), 1000); ; {
			want, wrong := library.Read()
			row, line, err := c.row()
			if wrong == io.EOF && err == io.EOF {
				break
			}
			if wrong != nil {
				var p *csv.ParseError
				if w := wrong.(*csv.ParseError); !errors.As(err, &p) || p.Err != w.Err || p.StartLine != w.StartLine {
					t.Fatalf("%q: error %v, want %v", b.String(), err, wrong)
				}
				break
			}
			if first, _ := library.FieldPos(0); err != nil || line != first || !slices.Equal(row, want) {
				t.Fatalf("%q: %q of line %d, %v, want %q of line %d", b.String(), row, line, err, want, first)
			}
		}
	}
}

// TestMarksThatStandWrong: a record with marks where none may be is malformed, and what is behind it is read, if it is one line for certain; where its marks
// are of an odd number, those of other records may be the rest of it, and the file is damaged.
func TestMarksThatStandWrong(t *testing.T) {
	skip := Sources{Records: true, OnBadRecord: SkipBadRecord, OnBadFile: SkipBadRecord}
	for _, wrong := range []string{`say "hi",1`, `"a"b,1`, `"a" ,1`, `"a"b,"c""",""`} {
		file := "a,b\n1,\"2\n3\"\n\n" + wrong + "\r\n4,\"5\n\"\n" + wrong + "\n6,7\n"
		docs, stats, err := one(t, "x.csv", file, skip)
		want := []string{`x.csv:2|{"a":"1","b":"2\n3"}`, `x.csv:6|{"a":"4","b":"5\n"}`, `x.csv:9|{"a":"6","b":"7"}`}
		if diff := cmp.Diff(want, docs); err != nil || diff != "" || stats.Skipped[Malformed] != 2 || stats.Skipped[Unreadable] != 0 {
			t.Errorf("%s: %v, %v %s", wrong, err, stats.Skipped, diff)
		}
		if len(stats.BadRecords) != 2 || !strings.Contains(stats.BadRecords[0], "x.csv:5: byte ") || !strings.Contains(stats.BadRecords[1], "x.csv:8: byte ") {
			t.Errorf("%s: named %q", wrong, stats.BadRecords)
		}
		if _, _, err := one(t, "x.csv", file, Sources{Records: true, OnBadRecord: FailOnBadRecord}); err == nil || !strings.Contains(err.Error(), "set on_bad_record=skip") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	docs, stats, err := one(t, "x.csv", "a,b\n1,2\n5\" tall,3\n4,\"5\"\n6,7\n", skip)
	if err != nil || len(docs) != 1 || stats.Skipped[Unreadable] != 1 {
		t.Errorf("a mark that stands alone: %d documents, %v, %v", len(docs), stats.Skipped, err)
	}
}
