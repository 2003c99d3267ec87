package recipe

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestReplaceAfterCrash: a folder that a crash left between its place and the new one's is there again,
// even if no new one can be made.
func TestReplaceAfterCrash(t *testing.T) {
	f := Folder{Dir: t.TempDir()}
	holds := func(text string) func(dir string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte(text), 0o666) }
	}
	want := func(text string) {
		t.Helper()
		if got, err := os.ReadFile(f.Path("model/a")); err != nil || string(got) != text {
			t.Fatalf("model holds %q, %v; want %q", got, err, text)
		}
	}
	if err := f.Replace("model", holds("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.Path("model"), f.Path(".model.old")); err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	if err := f.Replace("model", func(string) error { return full }); !errors.Is(err, full) {
		t.Fatalf("Replace returned %v", err)
	}
	want("old")
	if err := f.Replace("model", holds("new")); err != nil {
		t.Fatal(err)
	}
	want("new")
	if left, err := filepath.Glob(f.Path(".model*")); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// TestLeftoversAreRemoved: files that a kill left half written in the folder of a run are gone when the next session opens it.
func TestLeftoversAreRemoved(t *testing.T) {
	f := Folder{Dir: t.TempDir()}
	for _, name := range []string{".metrics.jsonl.tmp-12", ".preferences.tmp-34", ".paged.tmp-56", "notes.txt"} {
		if err := os.WriteFile(f.Path(name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	release, err := f.open(true)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if left, err := os.ReadDir(f.Dir); err != nil || len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("left: %v, %v", left, err)
	}
}
