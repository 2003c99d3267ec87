package data

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// TestJSONTextByHand: what stands under a key is found in any layout and read with every escape, as encoding/json reads it; the last of equal keys counts.
func TestJSONTextByHand(t *testing.T) {
	for line, want := range map[string]string{
		`{"text":"say \"hi\" \\ \/ there"}`:                 `say "hi" \ / there`,
		`{"a":"}\"","text":"x"}`:                            "x",
		`{"a":["\\\"]"],"text":"x","b":"\\"}`:               "x",
		`{"text":"\b\f\n\r\t"}`:                             "\b\f\n\r\t",
		`{"text":"\u0041\u00e9\u5929\uFFFF\uabCD"}`:         "Aé天\uFFFF\uabcd",
		`{"text":"\ud83d\ude00!"}`:                          "😀!",
		`{"text":"\ud83d"}`:                                 "\uFFFD",
		`{"text":"\ud83dx\ude00"}`:                          "\uFFFDx\uFFFD",
		`{"text":"\ude00\ud83d"}`:                           "\uFFFD\uFFFD",
		`{"text":"\ud83d\ud83d\ude00"}`:                     "\uFFFD😀",
		`{"text":"\ud83d\\ude00"}`:                          "\uFFFD\\ude00",
		`{"text":"\ud83d\n0000"}`:                           "\uFFFD\n0000",
		`{"text":"\u0041\u0042"}`:                           "AB",
		"\t{ \r\"text\"\t:\r \"x\" \t}\r":                   "x",
		"{\n\"n\"\n:\n-1.5e+3\n,\n\"text\"\n:\n\"x\"\n}":    "x",
		`{"n":[1,{"text":"inner"},[]],"t":true,"text":"x"}`: "x",
		`{"text":"first","text":"last"}`:                    "last",
		`{"te\u0078t":"escaped key"}`:                       "escaped key",
		`{"text":""}`:                                       "",
		"{\"text\":\"raw \x7f \xff bytes\"}":                "raw \x7f \xff bytes",
		`{"":{},"text":"x","z":null}`:                       "x",
	} {
		got, ok := jsonText([]byte(line), "text")
		if !ok || string(got) != want {
			t.Errorf("%s: %q %v, want %q", line, got, ok, want)
		}
		var ref struct{ Text string }
		if err := json.Unmarshal([]byte(line), &ref); err != nil || !strings.Contains(line, "\xff") && ref.Text != want {
			t.Errorf("%s: encoding/json has %q, %v", line, ref.Text, err)
		}
	}
	for _, line := range []string{`{}`, `{"text":1}`, `{"text":null}`, `{"text":["x"]}`, `{"text":{"text":"x"}}`, `{"a":{"text":"x"}}`, `["text","x"]`, `"text"`, `{"Text":"x"}`, `7`} {
		if got, ok := jsonText([]byte(line), "text"); ok {
			t.Errorf("%s: %q", line, got)
		}
	}
	for line, want := range map[string]string{`{"id":"a\"b"}`: `a"b`, `{"id":12.50e3}`: "12.50e3", `{"id": -7 }`: "-7", `{"id":0}`: "0", `{"id":true}`: "", `{"id":false}`: "", `{"id":null}`: "", `{"id":[1]}`: "", `{"id":{}}`: "", `{}`: "", `{"id":""}`: ""} {
		if got := jsonWord([]byte(line), "id"); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// TestLinesByHand: lines of any length, with a limit just at their own, and what the file ends with.
func TestLinesByHand(t *testing.T) {
	for _, size := range []int{16, 4096} { // of the reader's buffer: lines are longer and shorter than it
		for text, want := range map[string]string{
			"":                                      "",
			"\n":                                    "|",
			"a":                                     "a|",
			"a\n":                                   "a|",
			"a\n\n":                                 "a||",
			"a\r\nb":                                "a\r|b|",
			strings.Repeat("x", 20) + "\ny":         strings.Repeat("x", 20) + "|y|",
			strings.Repeat("x", 21) + "\ny":         "too long|y|",
			strings.Repeat("x", 21):                 "too long|",
			"y\n" + strings.Repeat("x", 100) + "\n": "y|too long|",
			strings.Repeat("x", 15) + "\n" + "z\n":  strings.Repeat("x", 15) + "|z|",
			strings.Repeat("x", 16) + "\n" + "z":    strings.Repeat("x", 16) + "|z|",
			strings.Repeat(strings.Repeat("x", 20)+"\n", 3): strings.Repeat(strings.Repeat("x", 20)+"|", 3),
		} {
			l := lineReader{r: bufio.NewReaderSize(strings.NewReader(text), size), limit: 20}
			var got strings.Builder
			for {
				line, err := l.next()
				if err == io.EOF {
					break
				}
				if err != nil && err != errLong {
					t.Fatal(err)
				}
				if err == errLong {
					line = []byte("too long")
				}
				got.Write(line)
				got.WriteByte('|')
			}
			if got.String() != want || l.read != int64(len(text)) {
				t.Errorf("%q: %q and %d bytes, want %q", text, got.String(), l.read, want)
			}
			if cap(l.buf) > 64 {
				t.Errorf("%q: %d bytes are kept of lines of 20", text, cap(l.buf))
			}
		}
	}
	broken := errors.New("broken")
	l := lineReader{r: bufio.NewReader(io.MultiReader(strings.NewReader("whole\nhalf"), failing{broken})), limit: 20}
	if line, err := l.next(); err != nil || string(line) != "whole" {
		t.Errorf("%q, %v", line, err)
	}
	if line, err := l.next(); err != broken {
		t.Errorf("half a line is %q, %v", line, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestBlankLines are no records, whatever white space they hold; a mark stands before the first line only.
func TestBlankLines(t *testing.T) {
	docs, stats, err := one(t, "x.jsonl", " \t\r\n\n \t{\"text\":\"a\"} \t\r\n\r\n", Sources{})
	if err != nil || !slices.Equal(docs, []string{"x.jsonl:3|a"}) || len(stats.Skipped) > 0 {
		t.Errorf("%q, %v, %v", docs, stats, err)
	}
	if _, _, err := one(t, "x.jsonl", "{\"text\":\"a\"}\n"+byteOrderMark+"{\"text\":\"b\"}", Sources{}); err == nil || !strings.Contains(err.Error(), "x.jsonl:2: not valid JSON: invalid character") {
		t.Errorf("a mark in the second line: %v", err)
	}
	if _, _, err := one(t, "x.jsonl", "{\"text\":\"a\"} {}", Sources{}); err == nil || !strings.Contains(err.Error(), "not valid JSON") {
		t.Errorf("two values in a line: %v", err)
	}
}

// TestTables: quotes of .csv, and of .tsv, where one in the middle of a field makes all of them plain; rows of another number of fields are bad records.
func TestTables(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
		malformed  int
	}{
		{"x.csv", "a,b\n\"1,\"\"x\"\"\",2\n3\n4,5,6\n\n7,8\n", []string{`x.csv:2|{"a":"1,\"x\"","b":"2"}`, `x.csv:6|{"a":"7","b":"8"}`}, 2},
		{"x.csv", "a\n\"1\n2\"\n3", []string{`x.csv:2|{"a":"1\n2"}`, `x.csv:4|{"a":"3"}`}, 0},
		{"x.tsv", "a\tb\nsay \"hi\", you\t2\n", []string{`x.tsv:2|{"a":"say \"hi\", you","b":"2"}`}, 0},
		{"x.csv", "a,b\n", nil, 0},
	} {
		docs, stats, err := one(t, c.name, c.text, Sources{Records: true, OnBadRecord: SkipBadRecord})
		if err != nil || !slices.Equal(docs, c.want) || stats.Skipped[Malformed] != c.malformed {
			t.Errorf("%q: %q, %v, %v", c.text, docs, stats.Skipped, err)
		}
	}
}
