package cli

import (
	"bytes"
	"io"
	"os"
	"testing"
)

// TestResultsAreOneObject: with --json one line, to which nothing else is written; else the text.
func TestResultsAreOneObject(t *testing.T) {
	var out, notes bytes.Buffer
	a := &App{Out: &out, Err: &notes, JSON: true}
	if err := a.Result(map[string]any{"a": 1}, func(io.Writer) { t.Error("the text is written, too") }); err != nil || out.String() != "{\"a\":1}\n" || a.Notes() != io.Writer(&notes) {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	a.JSON = false
	if err := a.Result(nil, func(w io.Writer) { io.WriteString(w, "text") }); err != nil || out.String() != "text" || a.Notes() != io.Writer(&out) {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := (&App{Out: &out, JSON: true}).Result(func() {}, nil); err == nil {
		t.Error("what JSON cannot hold is no error")
	}
	if err := (&App{Out: &Output{File: os.NewFile(1<<30, "closed")}, JSON: true}).Result(1, nil); err != nil { // as for text, main says so, and who reads no more of a pipe is no failure
		t.Errorf("an output that is closed: %v", err)
	}
}
