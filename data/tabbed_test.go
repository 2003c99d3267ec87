package data

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestQuotationMarksOfTabbedFiles: fields that data frames enclose are read as they were; where sentences stand as they are, each line stays a row.
func TestQuotationMarksOfTabbedFiles(t *testing.T) {
	for file, want := range map[string]string{
		"a\tb\n\"x \"\"y\"\"\"\t\"1\t2\"\n":                        `2 {"a":"x \"y\"","b":"1\t2"}`,
		"a\tb\n\"x\ny\n\"\t1\n2\t\"\"\n":                           `2 {"a":"x\ny\n","b":"1"}, 5 {"a":"2","b":""}`,
		"a\tb\n1\t\"func f() {\n\treturn\n}\"\r\n2\t3":             `2 {"a":"1","b":"func f() {\n\treturn\n}"}, 5 {"a":"2","b":"3"}`,
		"a\n\"x\n\ny\"\nz\n":                                       `2 {"a":"x\n\ny"}, 5 {"a":"z"}`,
		"\"a\nb\"\tc\n1\t2\n":                                      `3 {"a\nb":"1","c":"2"}`,
		"a\tb\n\"Yes\" is short\t\"1\n\"No\t2\"\n":                 `2 {"a":"\"Yes\" is short","b":"\"1"}, 3 {"a":"\"No","b":"2\""}`,
		"a\tb\n\"I am here.\tIch\nYou, \"too\".\"\tDu\n\"x\"\t3\n": `2 {"a":"\"I am here.","b":"Ich"}, 3 {"a":"You, \"too\".\"","b":"Du"}, 4 {"a":"\"x\"","b":"3"}`,
		"a\tb\n1\t\"I am here.\n\n2\t\"You, too.\n3\t4\"\n":        `2 {"a":"1","b":"\"I am here."}, 4 {"a":"2","b":"\"You, too."}, 5 {"a":"3","b":"4\""}`,
	} {
		docs, _, err := one(t, "x.tsv", file, Sources{Records: true})
		for i := range docs {
			docs[i] = strings.Replace(strings.TrimPrefix(docs[i], "x.tsv:"), "|", " ", 1)
		}
		if diff := cmp.Diff(want, strings.Join(docs, ", ")); diff != "" || err != nil {
			t.Errorf("%q: %v %s", file, err, diff)
		}
	}
	empty := "a\tb\n\"x\t1\n" + strings.Repeat("\n", 100_000) + "y\"\t2\n" // within the limit, but not as lines that are held
	if docs, _, err := one(t, "x.tsv", empty, Sources{Records: true, MaxRecord: 1 << 17}); err != nil || len(docs) != 2 || !strings.HasSuffix(docs[0], `{"a":"\"x","b":"1"}`) {
		t.Errorf("a field of empty lines: %d documents, %v", len(docs), err)
	}
	long := "a\tb\n\"x\t1\n" + strings.Repeat("line\n", 20_000) // without an end, and longer than a record may be
	docs, stats, err := one(t, "x.tsv", long, Sources{Records: true, MaxRecord: 1 << 16, OnBadRecord: SkipBadRecord})
	if err != nil || len(docs) != 1 || stats.Skipped[Malformed] != 20_000 {
		t.Errorf("%d documents, %v, %v", len(docs), stats.Skipped, err)
	}
}

// TestLongLinesOfTabbedFiles: a line over the limit is a record too long, whether it stands alone, lies in a field with marks, or is longer than what is read at
// once; the rows around it are read, and marks keep their meaning.
func TestLongLinesOfTabbedFiles(t *testing.T) {
	for name, long := range map[string]string{"alone": "1\t", "with marks": "1\t\"", "within a field": "1\t\"x\n"} {
		for _, bytes := range []int{1 << 16, 3 << 20} {
			file := "a\tb\n0\t\"y \"\"z\"\"\"\n" + long + strings.Repeat("x", bytes) + "\n2\t\"3\"\n4\t5"
			s := Sources{Records: true, MaxRecord: 1000, OnBadRecord: SkipBadRecord, OnBadFile: SkipBadRecord}
			docs, stats, err := one(t, "x.tsv", file, s)
			if err != nil || stats.Skipped[TooLong] != 1 || stats.Skipped[Unreadable] != 0 {
				t.Fatalf("%s, %d bytes: %v, %v", name, bytes, stats.Skipped, err)
			}
			line := 3 + strings.Count(long, "\n")
			if len(stats.BadRecords) == 0 || !strings.HasSuffix(stats.BadRecords[0], fmt.Sprintf("x.tsv:%d: the line is longer than 1000 bytes", line)) {
				t.Errorf("%s, %d bytes: named %q", name, bytes, stats.BadRecords)
			}
			want := []string{`x.tsv:2|{"a":"0","b":"y \"z\""}`, fmt.Sprintf(`x.tsv:%d|{"a":"2","b":"3"}`, line+1), fmt.Sprintf(`x.tsv:%d|{"a":"4","b":"5"}`, line+2)}
			if name == "within a field" { // its first line is a row by itself, as if nothing enclosed it
				want = slices.Insert(want, 1, `x.tsv:3|{"a":"1","b":"\"x"}`)
			}
			if diff := cmp.Diff(want, docs); diff != "" {
				t.Errorf("%s, %d bytes: %s", name, bytes, diff)
			}
			s.OnBadRecord, s.OnBadFile = FailOnBadRecord, FailOnBadRecord
			if _, _, err := one(t, "x.tsv", file, s); err == nil || !strings.Contains(err.Error(), "set on_bad_record=skip") {
				t.Errorf("%s, %d bytes: %v", name, bytes, err)
			}
		}
	}
}

// TestLongRecordsOfCommaFiles: a record over the limit is passed over and counted, whether it has one line or many, with marks or without; what is behind it is
// read, its lines are counted as they stand, and only a mark without an end takes the rest along, which is an error of the file.
func TestLongRecordsOfCommaFiles(t *testing.T) {
	x := strings.Repeat("x", 3000)
	for name, long := range map[string]string{"plain": x, "with marks": `"` + x + `"`, "many lines": `"` + strings.Repeat("x,\"\"\n\n", 1000) + `"`, "longer than what is read at once": `"` + strings.Repeat("x\r\n", 1<<17) + `"`} {
		file := "a,b\r\n\n0,\"y \"\"z\"\"\"\n1," + long + "\n2,\"3\n\"\n\r\n4,5"
		line := 4 + strings.Count(long, "\n") + 1
		s := Sources{Records: true, MaxRecord: 1000, OnBadRecord: SkipBadRecord, OnBadFile: SkipBadRecord}
		docs, stats, err := one(t, "x.csv", file, s)
		want := []string{`x.csv:3|{"a":"0","b":"y \"z\""}`, fmt.Sprintf(`x.csv:%d|{"a":"2","b":"3\n"}`, line), fmt.Sprintf(`x.csv:%d|{"a":"4","b":"5"}`, line+3)}
		if diff := cmp.Diff(want, docs); err != nil || diff != "" || stats.Skipped[TooLong] != 1 || stats.Skipped[Unreadable] != 0 {
			t.Errorf("%s: %v, %v %s", name, err, stats.Skipped, diff)
		}
		if len(stats.BadRecords) != 1 || !strings.HasSuffix(stats.BadRecords[0], "x.csv:4: the record is longer than 1000 bytes") {
			t.Errorf("%s: named %q", name, stats.BadRecords)
		}
		s.OnBadRecord, s.OnBadFile = FailOnBadRecord, FailOnBadRecord
		if _, _, err := one(t, "x.csv", file, s); err == nil || !strings.Contains(err.Error(), "x.csv:4: the record is longer than 1000 bytes") {
			t.Errorf("%s: %v", name, err)
		}
		s.OnBadRecord = SkipBadRecord
		_, stats, err = one(t, "x.csv", file+"\n6,\"7\"8\n", s)
		if err != nil || len(stats.BadRecords) != 2 || !strings.Contains(stats.BadRecords[1], fmt.Sprintf("x.csv:%d: byte 5", line+4)) {
			t.Errorf("%s: a mark behind it is told as %q, %v", name, stats.BadRecords, err)
		}
		if _, _, err := one(t, "x.csv", file+"\n6,\"7\"8\n9,5\"\n", s); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("line %d, column 4", line+5)) {
			t.Errorf("%s: a mark that stands alone behind it is told as %v", name, err)
		}
	}
	s := Sources{Records: true, MaxRecord: 1000, OnBadRecord: SkipBadRecord, OnBadFile: SkipBadRecord}
	docs, stats, err := one(t, "x.csv", "a,b\n1,2\n3,\"4"+strings.Repeat("\nx", 3000), s)
	if err != nil || len(docs) != 1 || stats.Skipped[Unreadable] != 1 {
		t.Errorf("a mark without an end: %d documents, %v, %v", len(docs), stats.Skipped, err)
	}
	for at, text := range map[string]string{"MaxRecord": "a\n" + x[:1000] + "\n", "one more": "a\n" + x[:1001] + "\n"} {
		if docs, stats, _ := one(t, "x.csv", text, s); len(docs)+stats.Skipped[TooLong] != 1 || len(docs) == 1 != (at == "MaxRecord") {
			t.Errorf("%s bytes: %d documents, %v", at, len(docs), stats.Skipped)
		}
	}
}
