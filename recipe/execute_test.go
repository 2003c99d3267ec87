package recipe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/adapter"
	"hone/data"
	"hone/device"
	"hone/device/devicetest"
	"hone/model"
	"hone/nn"
	"hone/tokenizer"
	"hone/train"
)

// refused is a stage whose data cannot be used; leaves is what it had made of it before.
type refused struct {
	Stage
	leaves string
	closed int
}

var errData = errors.New("no text")

func (s *refused) OpenData(_ context.Context, r *Run) error {
	if s.leaves == "" {
		return errData
	}
	return errors.Join(errData, os.WriteFile(r.Folder.Path(s.leaves), nil, 0o666))
}

func (s *refused) Close() error { s.closed++; return nil }

// TestRefusedRunLeavesNothing that it made: no folder, nor those above it; but what it found and what
// it has read of its data stays.
func TestRefusedRunLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		there, leaves, out string
		want               []string // what is below the folder afterwards
	}{
		{"", "", "a/b/run", nil},
		{"a", "", "a/b/run", []string{"a"}},
		{"a/b/run", "", "a/b/run", []string{"a", "a/b", "a/b/run"}},
		{"a/other", "", "a/b/run", []string{"a", "a/other"}},
		{"", "tokens", "a/run", []string{"a", "a/run", "a/run/tokens"}},
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, c.there), 0o777); err != nil {
			t.Fatal(err)
		}
		training, stage := sound(), &refused{leaves: c.leaves}
		training.Out = filepath.Join(dir, c.out)
		_, err := Execute(context.Background(), &Run{Stage: stage, Training: &training, Env: Env{Device: devicetest.NewReference()}})
		if !errors.Is(err, errData) || stage.closed != 1 {
			t.Errorf("%+v: %v, closed %d times", c, err, stage.closed)
		}
		var left []string
		err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if rel, _ := filepath.Rel(dir, path); rel != "." {
				left = append(left, filepath.ToSlash(rel))
			}
			return err
		})
		if err != nil || !slices.Equal(left, c.want) {
			t.Errorf("%+v: left are %q, %v", c, left, err)
		}
	}
}

// TestFileInPlaceOfFolderStays: what somebody puts where a run's folder would be, while the run starts, is not removed.
func TestFileInPlaceOfFolderStays(t *testing.T) {
	dir := t.TempDir()
	out := Folder{filepath.Join(dir, "run")}
	made := out.missing()
	if err := os.WriteFile(out.Dir, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	removeEmpty(made)
	if _, err := os.Stat(out.Dir); err != nil || !slices.Equal(made, []string{out.Dir}) {
		t.Errorf("%v, of %q", err, made)
	}
}

// TestModulesAreChecked: a name that no layer ends in is told with the nearest there is.
func TestModulesAreChecked(t *testing.T) {
	m, err := model.Open(filepath.Join("..", "testdata", "golden", "llama_untied"), devicetest.NewReference(), device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	r := &Run{Model: m}
	for name, want := range map[string]string{"q_proj": "", "mlp.up_proj": "", "qproj": "did you mean q_proj?", "proj": "did you mean", "_proj": "did you mean",
		"embed_tokens": "lora.modules_to_save", "model.embed_tokens": "lora.modules_to_save", "lm_hed": "did you mean"} {
		err := r.checkModules(adapter.Modules{Names: []string{"v_proj", name}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.checkModules(adapter.Modules{Pattern: adapter.AllLinear}); err != nil {
		t.Errorf("a pattern: %v", err)
	}
	// matrices decay and vectors do not, whatever they are called
	for _, p := range Trainable(m.Params) {
		vector := strings.Contains(p.Name, "norm") || strings.HasSuffix(p.Name, ".bias")
		if p.Decay == vector {
			t.Errorf("%s: decay %v", p.Name, p.Decay)
		}
	}
	// LoRA+ makes matrices B alone faster
	var params []nn.Named
	for _, name := range []string{"x.lora_A.weight", "x.lora_B.weight", "norm.weight"} {
		params = append(params, nn.Named{Name: name, Param: m.Params[0].Param})
	}
	list := Trainable(params)
	(&LoRA{PlusRatio: 16}).speedUp(list)
	if list[0].LRScale != 0 || list[1].LRScale != 16 || list[2].LRScale != 0 {
		t.Errorf("rates are scaled by %v, %v and %v", list[0].LRScale, list[1].LRScale, list[2].LRScale)
	}
}

// TestParts: neighbours that are both learned or both not are one part, and the parts together are the text.
func TestParts(t *testing.T) {
	docs := func(yield func([]byte, error) bool) { yield([]byte("x"), nil) }
	tok, err := tokenizer.Train(context.Background(), docs, tokenizer.TrainConfig{VocabSize: 256, Pattern: tokenizer.PatternGPT2, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, learned := range []string{"", "0", "1", "0011", "10101"} {
		const text = "a€b c d"
		ids := tok.Encode(nil, []byte(text))
		var marks []int32
		for i, id := range ids {
			marks = append(marks, data.Mark(id, i < len(learned) && learned[i] == '1'))
		}
		parts, all := Parts(tok, marks), ""
		for i, p := range parts {
			if all += p.Text; i > 0 && p.Supervised == parts[i-1].Supervised {
				t.Errorf("%q: parts %d and %d are one", learned, i-1, i)
			}
		}
		if runs := 1 + strings.Count(learned+"0", "01") + strings.Count(learned+"0", "10"); len(parts) != runs {
			t.Errorf("%q: %d parts, want %d", learned, len(parts), runs)
		}
		if all != text && !strings.Contains(learned, "1") { // elsewhere a part may end within a character
			t.Errorf("%q: the text is %q", learned, all)
		}
	}
	if Parts(tok, nil) != nil {
		t.Error("no tokens have parts")
	}
}

// TestKeepsBest only where a run watched a metric and its best was not the last step.
func TestKeepsBest(t *testing.T) {
	for _, c := range []struct {
		metric     string
		best, step int
		want       bool
	}{{"loss", 4, 8, true}, {"loss", 8, 8, false}, {"loss", 0, 8, false}, {"", 4, 8, false}} {
		training := sound()
		training.EarlyStopping.Metric = c.metric
		if got := (&Run{Training: &training}).keepsBest(train.Outcome{State: train.State{Step: c.step, BestStep: c.best}}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
