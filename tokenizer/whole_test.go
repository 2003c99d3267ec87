package tokenizer

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// TestWholeFilesEqualTheReference is about parts that meet in one file; testdata/gen/tokenizer_whole.py wrote the cases.
func TestWholeFilesEqualTheReference(t *testing.T) {
	data, err := os.ReadFile("testdata/whole.json")
	if err != nil {
		t.Fatal(err)
	}
	cases := decodeJSON[[]struct {
		Name      string
		Tokenizer json.RawMessage
		Texts     []string
		IDs       [][]int32 // nil where the reference panics
		Lists     [][]int32
		Decoded   []*string
	}](t, data)
	if len(cases) < 40 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		tok, err := Parse(c.Tokenizer)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		for i, text := range c.Texts {
			got := tok.EncodeWithSpecial([]int32{}, []byte(text))
			if c.IDs[i] != nil && !slices.Equal(got, c.IDs[i]) {
				t.Errorf("%s: %q:\n got %v\nwant %v", c.Name, text, got, c.IDs[i])
			}
			if spans, _ := tok.EncodeSpans([]byte(text), Options{ParseSpecial: true}); !slices.Equal(spans, got) {
				t.Errorf("%s: %q: %v with spans, %v without", c.Name, text, spans, got)
			}
		}
		for i, ids := range c.Lists {
			if got := lossy(tok.Decode(ids)); c.Decoded[i] != nil && got != *c.Decoded[i] {
				t.Errorf("%s: %v decodes to %q, want %q", c.Name, ids, got, *c.Decoded[i])
			}
		}
	}
}
