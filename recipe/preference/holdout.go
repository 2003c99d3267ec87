package preference

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// heldKey names in a run's identity how its held-out share was taken.
const heldKey = "held-out share"

// identity is what must be the same for a resume. Runs from before prompts were held out as a whole lack
// heldKey, and are told by it that the other contents are no fault of the data.
func (s *judgements) identity() map[string]string {
	id := map[string]string{"contents of data": s.fingerprint()}
	if s.split {
		id[heldKey] = "whole prompts (single records in runs of an earlier hone, which this one cannot go on with)"
	}
	return id
}

// holdOut parts records into those to learn from and about a fraction to be held out. All records of a prompt
// stay on one side: of one that was learned the verdict of another annotator is known, and held out it would
// flatter the model. A prompt's place is its hash, so that the choice depends neither on the order of records
// nor on the seed, and all stages hold out the same of the same data. all is not to be used any more.
func holdOut(all []judged, fraction float64) (train, held []judged, err error) {
	prompts := countPrompts(all)
	if len(prompts) == 1 {
		return all, nil, errors.New("all records have one prompt, of which none can be held out; name others by validation_data, or set validation_fraction=0")
	}
	want, n := fraction*float64(len(all)), 0.0
	out := map[uint64]bool{}
	// one of which too much would be above the share is passed over, or few prompts with many
	// records would hold out far more
	for _, p := range prompts {
		if size := float64(p.records); n+size/2 <= want && len(out) < len(prompts)-1 {
			out[p.hash], n = true, n+size
		}
	}
	if len(out) == 0 && len(prompts) > 0 {
		least := slices.MinFunc(prompts, func(a, b promptCount) int { return cmp.Compare(a.records, b.records) })
		out[least.hash] = true
	}
	held = make([]judged, 0, int(n))
	train = slices.DeleteFunc(all, func(j judged) bool {
		if out[j.prompt] {
			held = append(held, j)
		}
		return out[j.prompt]
	})
	return train, held, nil
}

// noteShare notes that far more is held out than the fraction that was asked for, as it is where few prompts have many records.
func (s *judgements) noteShare(fraction float64) {
	n, held := len(s.items)+len(s.held), len(s.held)
	if share := float64(held) / float64(n); held > 1 && share > 2*fraction {
		s.notes = append(s.notes, fmt.Sprintf("%d of %d records (%.0f%%) are held out, not %.3g%%: all of a prompt or none, and few prompts have many records; name others by validation_data to learn from all",
			held, n, 100*share, 100*fraction))
	}
}

// promptCount is how many records a prompt has.
type promptCount struct {
	hash    uint64
	records int
}

// countPrompts lists the prompts of records in the order of their hashes.
func countPrompts(all []judged) (list []promptCount) {
	hashes := make([]uint64, len(all))
	for i := range all {
		hashes[i] = all[i].prompt
	}
	slices.Sort(hashes)
	for _, h := range hashes {
		if n := len(list); n > 0 && list[n-1].hash == h {
			list[n-1].records++
		} else {
			list = append(list, promptCount{h, 1})
		}
	}
	return list
}
