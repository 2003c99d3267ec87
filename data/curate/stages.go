package curate

import (
	"fmt"
	"slices"
)

// Stage is what the removal of copies left.
type Stage struct {
	Name string
	Left Count
	Note string // what was removed, "" for nothing
}

// Stages are those behind the steps, in their order.
func (r *Result) Stages() []Stage {
	// counts are of what a stage removed; what it left is the rest, so that the stages add up to what was kept
	left := r.Read
	if n := len(r.Steps); n > 0 {
		left = r.Steps[n-1].Kept
	}
	var list []Stage
	remove := func(name string, gone Count) {
		left.Documents, left.Bytes, left.Tokens = left.Documents-gone.Documents, left.Bytes-gone.Bytes, left.Tokens-gone.Tokens
		note := ""
		if gone.Documents > 0 {
			note = fmt.Sprintf("%d removed", gone.Documents)
		}
		list = append(list, Stage{name, left, note})
	}
	if r.IDs.Documents > 0 {
		remove("duplicate ids", r.IDs)
	}
	for _, kind := range []struct {
		name string
		gone Count
	}{{"exact", r.Exact}, {"near", r.Near}} {
		// a search that found nothing is told, too: otherwise it looks as if it had not been made
		if kind.gone.Documents > 0 || slices.Contains(r.Searched, kind.name) {
			remove(kind.name+" duplicates", kind.gone)
		}
	}
	for _, c := range r.Cuts {
		note := ""
		if c.Spans > 0 {
			note = fmt.Sprintf("%d cut out of %d documents, %d removed for %s", c.Spans, c.Changed+c.Dropped.Documents, c.Dropped.Documents, c.Reason)
		}
		list = append(list, Stage{"repeated " + c.Name, c.Kept, note})
	}
	return list
}
