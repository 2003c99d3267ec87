package tokenizer

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var every = flag.Int("every", 1, "TestReferenceModels takes every n-th file")

var reference = flag.String("reference", "", "folder for TestReferenceFiles to write to")

// goSource returns Go's standard library source, one document a file.
func goSource(tb testing.TB) (docs [][]byte, size int) {
	tb.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Skip("no go command to find the standard library's source with")
	}
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		data, err := os.ReadFile(path)
		docs, size = append(docs, data), size+len(data)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return docs, size
}

func trainOn(tb testing.TB, docs [][]byte, pattern string) *Tokenizer {
	tb.Helper()
	seq := func(yield func([]byte, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
	eot := "<|endoftext|>"
	tok, err := Train(tb.Context(), seq, TrainConfig{VocabSize: 32000, Pattern: pattern, SpecialTokens: []string{eot}, BOS: eot, EOS: eot, ModelMaxLength: 1024, Workers: runtime.GOMAXPROCS(0)})
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

// BenchmarkTrain learns 32,000 tokens from Go's standard library source.
func BenchmarkTrain(b *testing.B) {
	docs, size := goSource(b)
	b.SetBytes(int64(size))
	for b.Loop() {
		trainOn(b, docs, PatternGPT2)
	}
}

// BenchmarkEncode encodes Go's standard library source, starting with empty caches, with 1 and 2 goroutines.
func BenchmarkEncode(b *testing.B) {
	docs, size := goSource(b)
	for _, pattern := range []string{PatternGPT2, PatternLlama3} {
		tok := trainOn(b, docs, pattern)
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", pattern, workers), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					encodeAndDrop(tok, docs, workers)
				}
			})
		}
		b.Run(pattern+"/scan", func(b *testing.B) {
			b.SetBytes(int64(size))
			words := 0
			for b.Loop() {
				for _, d := range docs {
					tok.pattern.Words(d, func(int, int) { words++ })
				}
			}
		})
	}
}

// encodeAndDrop encodes documents with one encoder for each goroutine, and keeps nothing.
func encodeAndDrop(tok *Tokenizer, docs [][]byte, workers int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			e, dst := tok.NewEncoder(), make([]int32, 0, 1<<16)
			for i := next.Add(1) - 1; int(i) < len(docs); i = next.Add(1) - 1 {
				dst = e.Encode(dst[:0], docs[i])
			}
		})
	}
	wg.Wait()
}

// BenchmarkLongWord encodes one word of 1 MiB.
func BenchmarkLongWord(b *testing.B) {
	tok := load(b, "gpt2")
	word := []byte(strings.Repeat("banana", 1<<20/6))
	b.SetBytes(int64(len(word)))
	for b.Loop() {
		tok.Encode(nil, word)
	}
}

// TestReferenceFiles writes what testdata/gen/tokenizer.py compares with the reference: two tokenizers trained on Go's standard library
// source, that source, and its ids. Run it with -reference FOLDER.
func TestReferenceFiles(t *testing.T) {
	if *reference == "" {
		t.Skip("-reference FOLDER not given")
	}
	docs, _ := goSource(t)
	writeFramed(t, "docs.bin", func(w *bufio.Writer) {
		for _, d := range docs {
			writeDoc(w, len(d), d)
		}
	})
	for _, pattern := range []string{PatternGPT2, PatternLlama3} {
		tok := trainOn(t, docs, pattern)
		if err := tok.Save(filepath.Join(*reference, pattern)); err != nil {
			t.Fatal(err)
		}
		e := tok.NewEncoder()
		writeFramed(t, pattern+".ids", func(w *bufio.Writer) {
			var ids []int32
			for _, d := range docs {
				ids = e.Encode(ids[:0], d)
				writeDoc(w, len(ids), ids)
			}
		})
	}
}

// TestReferenceModels writes what testdata/gen/tokenizer_parts.py check compares with the reference and times: each small tokenizer of the
// golden files, and its ids of Go's standard library source, of which it takes every n-th file. Run it with -reference FOLDER.
func TestReferenceModels(t *testing.T) {
	if *reference == "" {
		t.Skip("-reference FOLDER not given")
	}
	docs, _ := goSource(t)
	docs = everyNth(docs, *every)
	writeFramed(t, "docs.bin", func(w *bufio.Writer) {
		for _, d := range docs {
			writeDoc(w, len(d), d)
		}
	})
	for _, c := range readCases[modelCase](t, "models") {
		tok, err := Parse([]byte(c.Tokenizer))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(*reference, c.Name+".json"), c.Tokenizer)
		e, size := tok.NewEncoder(), 0
		var took time.Duration
		writeFramed(t, c.Name+".ids", func(w *bufio.Writer) {
			var ids []int32
			for _, d := range docs {
				start := time.Now()
				ids = e.Encode(ids[:0], d)
				took += time.Since(start)
				size += len(d)
				writeDoc(w, len(ids), ids)
			}
		})
		speed := fmt.Sprintf("%.2f", float64(size)/1e6/took.Seconds())
		write(t, filepath.Join(*reference, c.Name+".speed"), speed)
		t.Logf("%s: %s MB/s", c.Name, speed)
	}
}

func everyNth(docs [][]byte, n int) (out [][]byte) {
	for i := 0; i < len(docs); i += max(n, 1) {
		out = append(out, docs[i])
	}
	return out
}

func writeFramed(t *testing.T, name string, fill func(*bufio.Writer)) {
	if err := os.MkdirAll(*reference, 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(*reference, name))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fill(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeDoc ignores errors: bufio keeps the first one for Flush.
func writeDoc(w *bufio.Writer, n int, data any) {
	_ = binary.Write(w, binary.LittleEndian, uint32(n))
	_ = binary.Write(w, binary.LittleEndian, data)
}
