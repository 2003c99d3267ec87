package classifier

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/safetensors"
)

// TestDamagedClassifiers: files that are none, or whose weights are no numbers, are refused and no text makes them fail.
func TestDamagedClassifiers(t *testing.T) {
	write := func(weights []float32, bias float32) string {
		c := &Model{NGram: 2, Words: 10, Weights: weights, Bias: bias}
		path := filepath.Join(t.TempDir(), "c.safetensors")
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if c, err := Load(write(make([]float32, 256), 0)); err != nil || c.Probability("a text") != 0.5 {
		t.Errorf("one that is sound: %v", err)
	}
	odd := make([]float32, 256)
	odd[7] = float32(math.NaN())
	other := filepath.Join(t.TempDir(), "other.safetensors")
	w, err := safetensors.Create(other, []safetensors.Info{{Name: "weight", DType: safetensors.F32, Shape: []int{1}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFloat32("weight", []float32{1}); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	cut := write(make([]float32, 256), 0)
	if err := os.Truncate(cut, 300); err != nil {
		t.Fatal(err)
	}
	// to another version's weights the features here mean nothing
	older := write(make([]float32, 256), 0)
	text, err := os.ReadFile(older)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(older, bytes.Replace(text, []byte(format), []byte(anyFormat+"3"), 1), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(older); err == nil || !strings.Contains(err.Error(), "of another version of hone") {
		t.Errorf("one of another version: %v", err)
	}
	for name, path := range map[string]string{"no weights": write(nil, 0), "few weights": write(make([]float32, 128), 0), "no power of two": write(make([]float32, 300), 0), "no number": write(odd, 0),
		"an infinite bias": write(make([]float32, 256), float32(math.Inf(1))), "another file": other, "a file cut short": cut, "no file": "missing.safetensors"} {
		if c, err := Load(path); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: %v, error %v", name, c, err)
		}
	}
}
