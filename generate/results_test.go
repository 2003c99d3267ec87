package generate

import (
	"fmt"
	"slices"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/nn"
	"hone/tensor"
)

// TestResultsAreKept: what the layers compute of some prompts and their answers while these are written is, by the
// numbers of Output.Rows, what a pass over them computes; of others nothing is kept. Answers are those of a run
// that keeps nothing, one by one or side by side, of twins and in pieces, also on a device that could run ahead.
func TestResultsAreKept(t *testing.T) {
	asked := slices.Concat(prompts, prompts[2:3], prompts[2:3]) // 2, 5 and 6 are twins
	for _, c := range []struct {
		batch, prefill int
		keep           []int
		ahead          bool
	}{
		{16, 2048, []int{0, 1, 2, 3, 4, 5, 6}, false},
		{16, 2048, []int{1, 4}, true},
		{16, 2048, []int{0, 6}, false}, // a twin, but not the one whose keys it takes over
		{16, 2048, []int{2, 5}, false},
		{2, 2048, []int{3, 5}, false},
		{16, 4, []int{2, 4}, false},
		{16, 2048, []int{}, false},
	} {
		dev := device.Device(devicetest.NewReference())
		if c.ahead {
			dev = &aheadDevice{Device: dev}
		}
		m := tinyModel(t, dev)
		e := New(dev, device.F32, m, nil)
		e.prefill = c.prefill
		opt := DefaultOptions()
		opt.BatchSize, opt.MaxNewTokens, opt.Seed = c.batch, 6, 3
		opt.EOS = []int32{7, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40}
		want := mustRun(t, e, asked, opt)
		room := 0
		for _, i := range c.keep {
			room += len(asked[i]) + opt.MaxNewTokens
		}
		before := dev.Memory().InUse
		opt.Results, opt.Keep = tensor.NewResults(room), func(prompt int) bool { return slices.Contains(c.keep, prompt) }
		var ids, positions, known []int32
		offsets := []int32{0}
		for i, out := range mustRun(t, e, asked, opt) {
			if !slices.Equal(out.Tokens, want[i].Tokens) || !slices.Equal(out.LogProbs, want[i].LogProbs) {
				t.Errorf("%+v: answer %d is %v, %v where nothing is kept", c, i, out.Tokens, want[i].Tokens)
			}
			all := slices.Concat(asked[i], out.Tokens)
			all = all[:len(all)-1]
			if !opt.Keep(i) {
				if out.Rows != nil {
					t.Errorf("%+v: rows %v are kept of %d", c, out.Rows, i)
				}
				continue
			}
			if len(out.Rows) != len(all) {
				t.Fatalf("%+v: %d rows are kept of %d, which has %d", c, len(out.Rows), i, len(all))
			}
			for p := range all {
				positions = append(positions, int32(p))
			}
			ids, known = append(ids, all...), append(known, out.Rows...)
			offsets = append(offsets, int32(len(ids)))
		}
		if len(ids) > 0 {
			sameByResults(t, fmt.Sprintf("%+v", c), m, nn.NewInput(tensor.NewTape(dev, device.F32), ids, positions, offsets), opt.Results, known)
		} else if opt.Results.Rows() != 0 {
			t.Errorf("%+v: %d rows are kept", c, opt.Results.Rows())
		}
		opt.Results.Free()
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("%+v: %d bytes are left", c, held)
		}
	}
}

// sameByResults compares the hidden states of all rows of in but the first with those that known results give.
func sameByResults(t *testing.T, what string, m nn.Model, in nn.Input, results *tensor.Results, known []int32) {
	t.Helper()
	tape := in.IDs.Tape()
	defer tape.Reset()
	rows := make([]int32, len(known)-1)
	for i := range rows {
		rows[i] = int32(i + 1)
	}
	want, errWant := nn.HiddenAt(m, in, rows).Float32s()
	got, errGot := nn.HiddenAt(m, in.Reusing(results, known), rows).Float32s()
	if errWant != nil || errGot != nil || !slices.Equal(got, want) {
		t.Errorf("%s: hidden states differ by what was kept, %v, %v", what, errWant, errGot)
	}
	if err := tensor.Try(func() { nn.HiddenAt(m, in.Reusing(results, known), rows) }); err == nil {
		t.Errorf("%s: results were not used", what)
	}
}
