package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// TestScores compares scores with those of transformers, computed with padding on either side; here sequences
// stand packed.
func TestScores(t *testing.T) {
	for _, name := range []string{"llama", "gpt2"} {
		dir := filepath.Join("..", "testdata", "golden", "score", name)
		text, err := os.ReadFile(filepath.Join(dir, "scores.json"))
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Sequences [][]int32
			Scores    []float64
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		dev := cpu.New(cpu.Options{Threads: 2})
		// the layout of the checkpoint counts
		s, err := OpenScorer(dir, dev, device.F32, ScorerOptions{Layout: ValueLayout, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if s.Fresh || s.Score.Layout != ScoreLayout {
			t.Errorf("%s: fresh %v, layout %s", name, s.Fresh, s.Score.Layout)
		}
		for i, got := range scores(t, s, want.Sequences) {
			if math.Abs(float64(got)-want.Scores[i]) > 1e-5 {
				t.Errorf("%s: score %d is %v, want %v", name, i, got, want.Scores[i])
			}
		}
		packed := scores(t, s, want.Sequences)
		for i := range want.Sequences {
			if alone := scores(t, s, want.Sequences[i:i+1]); alone[0] != packed[i] {
				t.Errorf("%s: score %d is %v in a pack and %v alone", name, i, packed[i], alone[0])
			}
		}
		checkSavedScorer(t, s, dev)
		s.Free()
		if n := dev.Memory().InUse; n != 0 {
			t.Errorf("%s: %d bytes are left", name, n)
		}
		dev.Close()
	}
}

func scores(t *testing.T, s *Scorer, sequences [][]int32) []float32 {
	t.Helper()
	tape := tensor.NewTape(s.dev, device.F32)
	tape.Infer()
	defer tape.Reset()
	var ids, positions, last []int32
	offsets := []int32{0}
	for _, q := range sequences {
		for p, id := range q {
			ids, positions = append(ids, id), append(positions, int32(p))
		}
		offsets, last = append(offsets, int32(len(ids))), append(last, int32(len(ids)-1))
	}
	v, err := s.Scores(nn.NewInput(tape, ids, positions, offsets), last).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestIsOf: a model is that of a folder only where configuration and weights are the same and the folder has no head.
func TestIsOf(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	from := filepath.Join("..", "testdata", "golden", "llama_untied")
	m, err := Open(from, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	copied := func(change func(nn.Named, []float32)) string {
		dir := t.TempDir()
		err := m.Save(dir, device.F32, func(p nn.Named) ([]float32, error) {
			v, err := p.Float32s()
			change(p, v)
			return v, err
		})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "config.json"), m.Config, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	same, other := copied(func(nn.Named, []float32) {}), copied(func(p nn.Named, v []float32) { v[0]++ })
	s, err := OpenScorer(same, dev, device.F32, ScorerOptions{Layout: ValueLayout})
	if err != nil {
		t.Fatal(err)
	}
	headed := t.TempDir()
	if err := s.Save(headed, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	s.Free()
	if err := os.WriteFile(filepath.Join(headed, "config.json"), m.Config, 0o666); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{from: true, same: true, other: false, headed: false, filepath.Join("..", "testdata", "golden", "gpt2_tied"): false} {
		if is, err := m.IsOf(dir); is != want || err != nil {
			t.Errorf("%s: %v, %v", dir, is, err)
		}
	}
	empty := t.TempDir()
	if _, err := m.IsOf(empty); err == nil {
		t.Error("an empty folder is a model")
	}
	for text, want := range map[string]string{string(m.Config): "open model " + empty, `{`: "read config.json"} {
		if err := os.WriteFile(filepath.Join(empty, "config.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if is, err := m.IsOf(empty); is || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a folder without weights: %v, %v, want %q", is, err, want)
		}
	}
}

// checkSavedScorer writes the model and reads it back to the same scores.
func checkSavedScorer(t *testing.T, s *Scorer, dev device.Device) {
	t.Helper()
	dir := t.TempDir()
	if err := s.Save(dir, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	var head struct {
		Tied bool `json:"tie_word_embeddings"`
	}
	if err := json.Unmarshal(s.Config, &head); err != nil {
		t.Fatal(err)
	}
	if head.Tied != (s.Type == "gpt2") {
		t.Errorf("%s was saved as tied: %v", s.Type, head.Tied)
	}
	if _, err := Open(dir, dev, device.F32); err == nil || !strings.Contains(err.Error(), "this is a reward model") {
		t.Errorf("as a language model: %v", err)
	}
	plan := planOf(s.Model, safetensors.F32)
	for i := range plan {
		if plan[i].Name == "score.weight" {
			plan[i].Shape = []int{2, plan[i].Shape[1]}
		}
	}
	if _, err := Open(writeFolder(t, string(s.Config), plan, 0), dev, device.F32); err == nil || !strings.Contains(err.Error(), "a classifier with 2 labels") {
		t.Errorf("two labels: %v", err)
	}
	again, err := OpenScorer(dir, dev, device.F32, ScorerOptions{Layout: ScoreLayout})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Free()
	one := [][]int32{{3, 1, 4, 1, 5}}
	if a, b := scores(t, s, one), scores(t, again, one); a[0] != b[0] || again.Fresh {
		t.Errorf("score %v was saved and is %v", a[0], b[0])
	}
	var config struct {
		Architectures []string
		NumLabels     int `json:"num_labels"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil || json.Unmarshal(text, &config) != nil || config.NumLabels != 1 || config.Architectures[0] != s.classOf() {
		t.Errorf("config.json: %+v, %v", config, err)
	}
}

func (m *Model) classOf() string {
	return map[string]string{"llama": "LlamaForSequenceClassification", "gpt2": "GPT2ForSequenceClassification"}[m.Type]
}

// TestFreshHead: a language model gets a head whose first scores are near 0.
func TestFreshHead(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	for _, layout := range []Layout{ScoreLayout, ValueLayout} {
		s, err := OpenScorer(filepath.Join("..", "testdata", "golden", "llama_untied"), dev, device.BF16, ScorerOptions{Layout: layout, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !s.Fresh || s.Score.Layout != layout || s.Score.Weight.DType() != device.F32 {
			t.Errorf("%s: fresh %v, layout %s, head in %v", layout, s.Fresh, s.Score.Layout, s.Score.Weight.DType())
		}
		s.Free()
	}
	if _, err := OpenScorer(t.TempDir(), dev, device.F32, ScorerOptions{Layout: ScoreLayout}); err == nil {
		t.Error("an empty folder was opened")
	}
}

// TestDamagedHeads: a head of another shape is an error that names the tensor and leaves nothing in memory;
// one without a bias has a bias of 0.
func TestDamagedHeads(t *testing.T) {
	dev := devicetest.NewReference()
	m, err := New([]byte(tiny), dev, device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	plan, c := planOf(m, safetensors.F32), m.Shape().Hidden
	m.Free()
	weight, bias := ValueLayout.Module()+".weight", ValueLayout.Module()+".bias"
	for _, head := range []struct {
		shapes map[string][]int
		want   string // of the error
	}{
		{map[string][]int{weight: {1, c}}, ""},
		{map[string][]int{weight: {1, c}, bias: {1}}, ""},
		{map[string][]int{weight: {2, c}, bias: {1}}, weight + " has shape [2 8]"},
		{map[string][]int{weight: {1, c}, bias: {2}}, bias + " has shape [2]"},
		{map[string][]int{weight: {1, c + 1}}, weight + " has shape [1 9]"},
	} {
		all := plan
		for name, shape := range head.shapes {
			all = append(all[:len(all):len(all)], safetensors.Info{Name: name, DType: safetensors.F32, Shape: shape})
		}
		s, err := OpenScorer(writeFolder(t, tiny, all, 0), dev, device.F32, ScorerOptions{Layout: ScoreLayout})
		if head.want == "" {
			if err != nil || s.Score.Layout != ValueLayout || s.Fresh {
				t.Fatalf("%v: %v", head.shapes, err)
			}
			b, err := s.Score.Bias.Float32s()
			if stored := head.shapes[bias] != nil; err != nil || (b[0] != 0) != stored {
				t.Errorf("%v: the bias is %v, %v", head.shapes, b, err)
			}
			s.Free()
		} else if err == nil || !strings.Contains(err.Error(), head.want) {
			t.Errorf("%v: %v, want %q", head.shapes, err, head.want)
		}
		if held := dev.Memory().InUse; held != 0 {
			t.Errorf("%v: %d bytes are left", head.shapes, held)
		}
	}
	if _, err := OpenScorer(writeFolder(t, tiny, plan[1:], 0), dev, device.F32, ScorerOptions{Layout: ScoreLayout}); err == nil || !strings.Contains(err.Error(), "it lacks 1 of") || dev.Memory().InUse != 0 {
		t.Errorf("a checkpoint that lacks a tensor: %v; %d bytes are left", err, dev.Memory().InUse)
	}
}
