package preference

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/zeebo/xxh3"

	"hone/model"
	"hone/recipe"
	"hone/safetensors"
	"hone/tensor"
	"hone/train"
)

// referenceName is the file of a run with the log-probabilities of the reference model.
const referenceName = "reference.safetensors"

// reference sets for every item of the lists the log-probabilities of its answers under the model as it is
// before training, without its adapter. They are computed once and kept in the run's folder, for when it is
// resumed; fingerprint says of which records they are.
func reference(ctx context.Context, r *recipe.Run, fingerprint string, lists map[string][]judged) error {
	if r.Rehearsal { // which counts operations and has no weights: the values do not matter, their number does
		for _, list := range lists {
			for i := range list {
				list[i].ref = make([]float32, len(list[i].answers))
			}
		}
		return nil
	}
	path := r.Folder.Path(referenceName)
	if r.Training.Resume && r.Loop.Checkpoints.Newest() > 0 && readReference(path, fingerprint, lists) {
		return nil
	}
	// Beforehand for all records: a second model, or a pass with the adapter off, in every step would cost a
	// third of each.
	err := r.WithoutAdapter(func() error { return computeReference(ctx, r, lists) })
	if err != nil {
		return fmt.Errorf("log-probabilities of the reference: %w", err)
	}
	return writeReference(path, fingerprint, lists)
}

// computeReference goes through the lists in the order of their names and records, so that every run
// makes the same batches of them.
func computeReference(ctx context.Context, r *recipe.Run, lists map[string][]judged) error {
	total, done := 0, 0
	for _, list := range lists {
		total += len(list)
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		list := lists[name]
		picks := make([]int, len(list))
		for i := range picks {
			picks[i] = i
		}
		for _, b := range deal(list, picks, r.Training.BatchSize) {
			err := train.Infer(ctx, r.Tape, func() error {
				logp, err := answerLogProbs(r.Model, r.Tape, &b).Float32s()
				if err != nil {
					return err
				}
				for _, j := range b.Extra.(*dealt).items {
					n := len(j.answers)
					j.ref, logp = slices.Clone(logp[:n]), logp[n:]
				}
				return nil
			})
			if err != nil {
				return err
			}
			done += len(b.Extra.(*dealt).items)
			r.Env.Progress("reference", int64(done), int64(total))
		}
	}
	return nil
}

// writeReference keeps the values of each list as one tensor, in the order of its records: there are too
// many records for a tensor each.
func writeReference(path, fingerprint string, lists map[string][]judged) error {
	var plan []safetensors.Info
	flat, sum := map[string][]float32{}, xxh3.New()
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		for i := range lists[name] {
			flat[name] = append(flat[name], lists[name][i].ref...)
		}
		if n := len(flat[name]); n > 0 {
			plan = append(plan, safetensors.Info{Name: name, DType: safetensors.F32, Shape: []int{n}})
			hashValues(sum, flat[name])
		}
	}
	w, err := safetensors.Create(path, plan, map[string]string{"records": fingerprint, "sum": fmt.Sprintf("%016x", sum.Sum64())})
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, p := range plan {
		if err := w.WriteFloat32(p.Name, flat[p.Name]); err != nil {
			return err
		}
	}
	return w.Commit()
}

// hashValues adds the bits of values to a hash.
func hashValues(h *xxh3.Hasher, values []float32) {
	for part := range slices.Chunk(values, 1<<16) { // which binary.Write has as bytes in memory
		if err := binary.Write(h, binary.LittleEndian, part); err != nil {
			panic(err) // a hash takes every write
		}
	}
}

// readReference fills the items and reports whether that was possible. A file that is not there, of other records or damaged costs
// no more than the passes that computed it.
func readReference(path, fingerprint string, lists map[string][]judged) bool {
	a, err := safetensors.Open(path)
	if err != nil {
		return false
	}
	defer a.Close()
	values, sum := map[string][]float32{}, xxh3.New()
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		want := 0
		for i := range lists[name] {
			want += len(lists[name][i].answers)
		}
		if want == 0 {
			continue
		}
		t, ok := a.Tensor(name)
		if !ok {
			return false
		}
		if values[name], err = t.Float32(); err != nil || len(values[name]) != want {
			return false
		}
		hashValues(sum, values[name])
	}
	if m := a.Metadata(); m["records"] != fingerprint || m["sum"] != fmt.Sprintf("%016x", sum.Sum64()) {
		return false
	}
	for name, list := range lists {
		v := values[name]
		for i := range list {
			n := len(list[i].answers)
			list[i].ref, v = v[:n:n], v[n:]
		}
	}
	return true
}

// AnswerLogProbs are the log-probabilities of the supervised tokens of sequences of marked tokens (see
// data.Mark) under a model, summed for each.
func AnswerLogProbs(ctx context.Context, m *model.Model, tape *tensor.Tape, sequences [][]int32) ([]float64, error) {
	items, picks := make([]judged, len(sequences)), make([]int, len(sequences))
	for i, marks := range sequences {
		items[i], picks[i] = judged{answers: [][]int32{marks}}, i
	}
	const together = 16
	var sums []float64
	for _, b := range deal(items, picks, together) {
		err := train.Infer(ctx, tape, func() error {
			sums = append(sums, tensor.Values(answerLogProbs(m.Model, tape, &b))...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sums, nil
}
