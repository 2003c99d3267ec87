package curate

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
)

// note is a number (float64) or a word (string) that a step judged a document by.
type note struct {
	name  string
	value any
}

// Score notes a number that the running step judges the document by, such as a share or a perplexity, to four decimals, under STEP.NAME. It stands
// beside the text in the result, and the report shows its distribution over what the step kept and what it rejected.
func (d *Doc) Score(name string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return // JSON has no such numbers
	}
	// Four decimals tell any two documents apart that a person would, and keep the last bits of an addition's order out of the result.
	d.notes = append(d.notes, note{name, math.Round(value*1e4) / 1e4})
}

// Label notes a word, likewise; there may be few different ones.
func (d *Doc) Label(name, value string) { d.notes = append(d.notes, note{name, value}) }

// scores are the notes by name, nil when there are none.
func (d *Doc) scores() map[string]any {
	if len(d.notes) == 0 {
		return nil
	}
	all := make(map[string]any, len(d.notes))
	for _, n := range d.notes {
		all[n.name] = n.value
	}
	return all
}

func (r *Result) note(n note, kept bool) {
	if v, ok := n.value.(float64); ok {
		r.score(n.name, v, kept)
		return
	}
	if r.Labels[n.name] == nil {
		r.Labels[n.name] = map[string]Tally{}
	}
	label := n.value.(string)
	r.Labels[n.name][label] = r.Labels[n.name][label].plus(tallied(kept))
}

func (r *Result) score(name string, value float64, kept bool) {
	if r.Scores[name] == nil {
		r.Scores[name] = Distribution{}
	}
	r.Scores[name].add(value, scoreDigits, kept)
}

// mergeNotes adds the notes of a batch.
func (r *Result) mergeNotes(b *Result) {
	for name, d := range b.Scores {
		if r.Scores[name] == nil {
			r.Scores[name] = Distribution{}
		}
		r.Scores[name].merge(d)
	}
	for name, labels := range b.Labels {
		if r.Labels[name] == nil {
			r.Labels[name] = map[string]Tally{}
		}
		for label, t := range labels {
			r.Labels[name][label] = r.Labels[name][label].plus(t)
		}
	}
}

// Distribution counts the values of a score, rounded to digits that bound its size whatever the number of documents.
type Distribution map[float64]Tally

// Tally is how many documents with a value a step kept and rejected.
type Tally struct {
	Kept     int64 `json:"kept"`
	Rejected int64 `json:"rejected"`
}

func (t Tally) plus(o Tally) Tally { return Tally{t.Kept + o.Kept, t.Rejected + o.Rejected} }

func tallied(kept bool) Tally {
	if kept {
		return Tally{Kept: 1}
	}
	return Tally{Rejected: 1}
}

// scoreDigits are the significant digits of the values in a distribution of scores.
const scoreDigits = 2

// add counts one value.
func (d Distribution) add(value float64, digits int, kept bool) {
	key := rounded(value, digits)
	d[key] = d[key].plus(tallied(kept))
}

func (d Distribution) merge(other Distribution) {
	for v, o := range other {
		d[v] = d[v].plus(o)
	}
}

// Values are the values in ascending order.
func (d Distribution) Values() []float64 { return slices.Sorted(maps.Keys(d)) }

// Quantile is the value that a share q of the documents, kept or rejected, does not exceed; 0 when there are none.
func (d Distribution) Quantile(q float64) float64 {
	total := int64(0)
	for _, t := range d {
		total += t.Kept + t.Rejected
	}
	below := int64(0)
	for _, v := range d.Values() {
		if below += d[v].Kept + d[v].Rejected; float64(below) >= q*float64(total) {
			return v
		}
	}
	return 0
}

// rounded has the given number of significant digits.
func rounded(v float64, digits int) float64 {
	var buffer [32]byte
	r, err := strconv.ParseFloat(string(strconv.AppendFloat(buffer[:0], v, 'e', digits-1, 64)), 64)
	if err != nil {
		return v
	}
	return r
}

// MarshalJSON writes a list of [value, kept, rejected] by ascending value.
func (d Distribution) MarshalJSON() ([]byte, error) {
	list := make([][3]float64, 0, len(d))
	for v, t := range d {
		list = append(list, [3]float64{v, float64(t.Kept), float64(t.Rejected)})
	}
	slices.SortFunc(list, func(a, b [3]float64) int { return cmp.Compare(a[0], b[0]) })
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Distribution) UnmarshalJSON(text []byte) error {
	var list [][3]float64
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*d = make(Distribution, len(list))
	for _, l := range list {
		(*d)[l[0]] = Tally{int64(l[1]), int64(l[2])}
	}
	return nil
}

// documentBytes is the name of the distribution of lengths before any step, told apart by whether all steps kept the document.
const documentBytes = "document.bytes"
