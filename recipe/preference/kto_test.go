package preference

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/tensor"
	"hone/train"
)

// verdict is an answer of one token to a prompt of one.
func verdict(prompt, answer int32) judged {
	return judged{answers: [][]int32{{data.Mark(prompt, false), data.Mark(answer, true)}}, ref: []float32{0}}
}

// TestDivergenceOfKTO is the mean log-ratio of the mismatched answers of the batch, at least 0; an
// evaluation's is of those that are held out.
func TestDivergenceOfKTO(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Open(filepath.Join("..", "..", "testdata", "golden", "llama_untied"), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	c := DefaultDPO()
	c.LossType, c.BatchSize, c.Eval.MaxTokens = kto, 2, 0
	r := &recipe.Run{Env: recipe.Env{Device: dev}.WithDefaults(), Tape: tensor.NewTape(dev, device.F32), Model: m, Training: &c.Training}
	list := []judged{verdict(1, 2), verdict(3, 4)}
	s := &preferring{c: &c, meter: train.NewMeter(), records: &judgements{items: list, held: list}}
	// off are wrong answers whose log-ratios are as given
	off := func(ratios ...float32) []judged {
		wrong := []judged{verdict(1, 4), verdict(3, 2)}
		b := deal(wrong, []int{0, 1}, 2)[0]
		if err := train.Infer(t.Context(), r.Tape, func() error {
			for i, v := range tensor.Values(answerLogProbs(m, r.Tape, &b)) {
				wrong[i].ref = []float32{float32(v) - ratios[i]}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return wrong
	}
	for _, want := range []struct {
		ratios [2]float32
		kl     float64
	}{{[2]float32{2, 1}, 1.5}, {[2]float32{1, -4}, 0}} {
		batches := deal(list, []int{0, 1}, 1)
		if err := s.divergence(t.Context(), r, batches, off(want.ratios[:]...)); err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			if got := b.Extra.(*dealt).kl; math.Abs(float64(got)-want.kl) > 1e-4 {
				t.Errorf("ratios %v have a divergence of %v, want %v", want.ratios, got, want.kl)
			}
		}
	}
	s.mismatched, s.heldWrong = off(9, 9), off(3, 1)
	if got, err := s.evaluate(t.Context(), r); err != nil || math.Abs(got["kl"]-2) > 1e-4 {
		t.Errorf("an evaluation has a divergence of %v, want 2 (%v)", got["kl"], err)
	}
}

// TestMismatchedAnswersFit in the sequence, though prompt and answer come from two records.
func TestMismatchedAnswersFit(t *testing.T) {
	long := judged{answers: [][]int32{append([]int32{data.Mark(7, false), data.Mark(8, false)}, data.Mark(9, true))}}
	err := mismatch([]judged{long, {answers: [][]int32{{data.Mark(1, false), data.Mark(2, true), data.Mark(3, true)}}}}, 3, func(j judged) error {
		if n := len(j.answers[0]); n != min(n, 3) || j.supervised(0) != 1 {
			t.Errorf("%d tokens, %d of them of the answer", n, j.supervised(0))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestReferenceOfOtherRecords is not taken, though it has as many values, nor is one that is damaged: both are computed again.
func TestReferenceOfOtherRecords(t *testing.T) {
	path, lists := filepath.Join(t.TempDir(), referenceName), map[string][]judged{"items": {verdict(1, 2)}}
	lists["items"][0].ref = []float32{-3}
	if err := writeReference(path, "these", lists); err != nil {
		t.Fatal(err)
	}
	lists["items"][0].ref = nil
	if readReference(path, "others", lists) || lists["items"][0].ref != nil {
		t.Errorf("a reference of other records gives %v", lists["items"][0].ref)
	}
	if !readReference(path, "these", lists) || lists["items"][0].ref[0] != -3 {
		t.Errorf("%v", lists["items"][0].ref)
	}
	lists["items"][0].ref = nil
	whole := recipetest.Read(t, path)
	turned := slices.Clone(whole)
	turned[len(turned)-1] ^= 1
	for what, text := range map[string][]byte{"with a bit turned": turned, "cut short": whole[:len(whole)-1], "empty": nil} {
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
		if readReference(path, "these", lists) || lists["items"][0].ref != nil {
			t.Errorf("a file %s gives %v", what, lists["items"][0].ref)
		}
	}
}

// TestAnEpochSeesAll: the last step of an epoch is made though it has records of the next one, too.
func TestAnEpochSeesAll(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "pairs.jsonl"), t.TempDir()
	var b strings.Builder
	for i := range 5 {
		fmt.Fprintf(&b, `{"prompt":"one %d","chosen":"one","rejected":"two"}`+"\n", i)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	c := tinyDPO(t, base(t), path, dir, "validation_fraction=0", "batch_size=2", "steps=0", "epochs=1")
	r := c.run(recipe.Env{}.WithDefaults())
	r.Folder = recipe.Folder{Dir: dir}
	records, _, err := c.Preferences.open(t.Context(), r, (*reader).pairs, false)
	if err != nil || r.Training.Steps != 3 {
		t.Errorf("an epoch of 5 records, 2 in a step, has %d steps (%v)", r.Training.Steps, err)
	}
	if err := records.close(); err != nil {
		t.Error(err)
	}
}
