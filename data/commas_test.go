package data

import (
	"encoding/csv"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
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
				p, ok := err.(*csv.ParseError)
				if w := wrong.(*csv.ParseError); !ok || p.Err != w.Err || p.StartLine != w.StartLine {
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
