package curate

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestStoredDocumentsComeBack: what a shard holds is what was stored, and no damage is taken for a document.
func TestStoredDocumentsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.String()
		want := line{Text: word.Draw(t, "text"), Source: word.Draw(t, "source"), URL: word.Draw(t, "url"), ID: word.Draw(t, "id"),
			Record: rapid.IntRange(0, 1<<40).Draw(t, "record"), Tokens: rapid.Int64Range(0, 1<<40).Draw(t, "tokens")}
		if offset := rapid.Int64Range(-1, 1<<40).Draw(t, "offset"); offset >= 0 {
			want.Offset = &offset
		}
		if rapid.Bool().Draw(t, "scored") {
			want.Scores = map[string]any{"a.b": rapid.Float64().Draw(t, "score"), "c.d": "word"}
		}
		stored, err := want.store(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got line
		if err := got.load(stored); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		for cut := range stored {
			if err := new(line).load(stored[:cut]); !errors.Is(err, errStored) {
				t.Fatalf("of %d bytes, %d are read: %v", len(stored), cut, err)
			}
		}
	})
}

func TestStoredTextIsUTF8(t *testing.T) {
	stored, err := (&line{Text: "a\xff\xfeb"}).store(nil)
	var l line
	if err := errors.Join(err, l.load(stored)); err != nil || l.Text != "a\ufffd\ufffdb" {
		t.Errorf("%q, %v", l.Text, err)
	}
}

// TestBeginnings of texts are parts of them, between characters, and no longer than asked for.
func TestBeginnings(t *testing.T) {
	text := strings.Repeat("größe ändert über 天地玄黃\n", 40)
	for most := range 200 {
		if got := beginning(text, most); !utf8.ValidString(got) || !strings.HasPrefix(text, strings.TrimSuffix(got, " …")) || len(got) > most+len(" …") || len(strings.TrimSuffix(got, " …"))+3 < most {
			t.Fatalf("the first %d bytes are %q", most, got)
		}
	}
	if got := beginning("abc", 3); got != "abc" {
		t.Errorf("all of a text is %q", got)
	}
}
