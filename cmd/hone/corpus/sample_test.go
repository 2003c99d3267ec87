package corpus

import (
	"errors"
	"strings"
	"testing"

	"hone/data"
)

// TestFlagsInErrors: where a choice is a flag, an error does not speak of a key.
func TestFlagsInErrors(t *testing.T) {
	inner := errors.New("a.jsonl:3: not JSON; repair it or set on_bad_record=skip or on_bad_file=skip, or set text_field to one of: a")
	err := error(byFlags{inner})
	if want := "a.jsonl:3: not JSON; repair it or set --on-bad-record=skip or --on-bad-file=skip, or set --text-field to one of: a"; err.Error() != want || !errors.Is(err, inner) {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestSamplesAreWritten as documents with their place, or as the records that they were.
func TestSamplesAreWritten(t *testing.T) {
	var out strings.Builder
	if err := writeSample(&out, []data.Document{{Text: []byte("a <b>\n"), Source: "x.txt", Record: 3}}, false); err != nil || out.String() != "{\"record\":3,\"source\":\"x.txt\",\"text\":\"a <b>\\n\"}\n" {
		t.Errorf("a document is %s, %v", out.String(), err)
	}
	out.Reset()
	if err := writeSample(&out, []data.Document{{Text: []byte("{\n \"a\": \"<b>\"\n}")}}, true); err != nil || out.String() != "{\"a\":\"<b>\"}\n" {
		t.Errorf("a record is %s, %v", out.String(), err)
	}
	if err := writeSample(&out, []data.Document{{Text: []byte("{"), Source: "x.jsonl", Record: 2}}, true); err == nil || !strings.Contains(err.Error(), "x.jsonl") {
		t.Errorf("a broken record: %v", err)
	}
}
