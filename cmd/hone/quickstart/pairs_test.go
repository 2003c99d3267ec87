package quickstart

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPairsOfGo: documented functions with a body, short enough, and none that tools or nobody should call.
func TestPairsOfGo(t *testing.T) {
	const source = `package p

// Add adds
// two numbers.
func Add(a, b int) int {
	return a + b
}

func undocumented() { println() }

// Empty does nothing.
func Empty() {}

// Old is old.
//
// Deprecated: use Add.
func Old() { println() }

// noinline is for the compiler.
//
//go:noinline
func noinline() { println() }

// Outside is in assembly.
func Outside()

// T is a type.
type T int

// Get gets.
func (t *T) Get() int { return int(*t) }
`
	got := pairsOf([]byte(source))
	want := []pair{{"Add adds\ntwo numbers.\nfunc Add(a, b int) int", "func Add(a, b int) int {\n\treturn a + b\n}"}, {"Get gets.\nfunc (t *T) Get() int", "func (t *T) Get() int { return int(*t) }"}}
	if !slices.Equal(got, want) {
		t.Errorf("the pairs are %q, want %q", got, want)
	}
	long := "package p\n\n// F is long.\nfunc F() { println(\"" + strings.Repeat("x", maxPair) + "\") }\n"
	if got := pairsOf([]byte(long)); got != nil {
		t.Errorf("a function of %d bytes is taken", len(long))
	}
	if got := pairsOf([]byte("package p\nfunc {")); got != nil {
		t.Errorf("what does not parse has the pairs %q", got)
	}

	dir := t.TempDir()
	for name, text := range map[string]string{"a/x.go": source, "a/x_test.go": source, "a/testdata/y.go": source, "a/vendor/z.go": source, "a/b/more.go": source, "a/notes.txt": source} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "pairs.jsonl")
	if n, err := writePairs(out, []string{filepath.Join(dir, "a", "**", "*.go")}); n != 4 || err != nil {
		t.Errorf("%d pairs, %v", n, err)
	}
	text, err := os.ReadFile(out)
	if first, _, _ := strings.Cut(string(text), "\n"); err != nil || first != `{"messages":[{"content":"Get gets.\nfunc (t *T) Get() int","role":"user"},{"content":"func (t *T) Get() int { return int(*t) }","role":"assistant"}]}` &&
		!strings.HasPrefix(first, `{"messages":[{"content":"Add adds\ntwo numbers.\nfunc Add(a, b int) int","role":"user"},{"content":"func Add(a, b int) int {`) {
		t.Errorf("the first line is %s, %v", first, err)
	}
	if _, err := writePairs(out, []string{filepath.Join(t.TempDir(), "**", "*.go")}); err == nil || err.Error() != "there is no documented function in the source" {
		t.Errorf("of an empty folder: %v", err)
	}
}
