package data

import (
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
	long := "a\tb\n\"x\t1\n" + strings.Repeat("line\n", 20_000) // without an end, and longer than a record may be
	docs, stats, err := one(t, "x.tsv", long, Sources{Records: true, MaxRecord: 1 << 16, OnBadRecord: SkipBadRecord})
	if err != nil || len(docs) != 1 || stats.Skipped[Malformed] != 20_000 {
		t.Errorf("%d documents, %v, %v", len(docs), stats.Skipped, err)
	}
}
