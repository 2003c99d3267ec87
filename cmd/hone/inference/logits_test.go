package inference

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/cmd/hone/loaded"
)

// golden is the folder of a small model.
var golden = filepath.Join("..", "..", "..", "testdata", "golden", "llama_tied")

// tokens writes a few as hone logits reads them.
func tokens(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "batch.json")
	if err := os.WriteFile(path, []byte(`{"input_ids": [[1, 2, 3], [4, 5, 6]]}`), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLogitsInterrupted leaves no file, nor a part of one.
func TestLogitsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	c := logitsSettings{ids: tokens(t), out: filepath.Join(dir, "out.safetensors"), grads: true}
	flags := &loaded.Flags{ComputeFlags: loaded.ComputeFlags{Device: "cpu", DType: "f32"}}
	if _, err := c.run(ctx, golden, flags); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b, err := readTokenBatch(c.ids)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.compute(golden, flags, b) // the interruption comes when all is computed
	if err != nil {
		t.Fatal(err)
	}
	defer p.free()
	if _, err := c.write(ctx, p, b); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestLogitsKeepTheTokens: a result is not written over them, by whatever name.
func TestLogitsKeepTheTokens(t *testing.T) {
	c := logitsSettings{ids: tokens(t)}
	c.out = filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(c.ids, c.out); err != nil {
		t.Fatal(err)
	}
	if _, err := c.run(t.Context(), golden, &loaded.Flags{}); err == nil || !strings.Contains(err.Error(), "which holds the tokens") {
		t.Errorf("got %v", err)
	}
}
