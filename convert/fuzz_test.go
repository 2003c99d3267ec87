package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/gguf"
)

// FuzzOpen wants an error of one line, or a model all of whose tensors can be read.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	for _, name := range []string{"llama_llama3", "mixtral_window", "phi3_long", "gpt2_untied", "gpt_neox_parallel"} {
		folder, err := OpenFolder(filepath.Join("..", "testdata", "golden", name))
		if err != nil {
			f.Fatal(err)
		}
		if name == "llama_llama3" { // with a tokenizer too
			folder.meta = folder.meta[:len(folder.meta)-1]
			folder.meta = append(folder.meta, spaceMeta()...)
		}
		mix, _ := gguf.ParseMixture("q4_0")
		path := filepath.Join(dir, name)
		if err := folder.Write(f.Context(), path, mix); err != nil {
			f.Fatal(err)
		}
		folder.Close()
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	path := filepath.Join(dir, "fuzzed")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := Open(path)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
			return
		}
		defer m.Close()
		for _, info := range m.Tensors() {
			_, _, _ = m.Float32(info.Name) // rows may not fit the heads, which is an error
		}
	})
}
