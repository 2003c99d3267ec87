package document

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// Distribution counts the values of a score, rounded to digits that bound its size whatever the number of documents.
type Distribution map[float64]Tally

// Tally is how many documents with a value a step kept and rejected.
type Tally struct {
	Kept     int64 `json:"kept"`
	Rejected int64 `json:"rejected"`
}

// Plus is the sum of two.
func (t Tally) Plus(o Tally) Tally { return Tally{t.Kept + o.Kept, t.Rejected + o.Rejected} }

// Tallied is one document.
func Tallied(kept bool) Tally {
	if kept {
		return Tally{Kept: 1}
	}
	return Tally{Rejected: 1}
}

// Significant digits of the values in distributions of scores, and of lengths.
const (
	ScoreDigits  = 2
	LengthDigits = 3
)

// Add counts one value.
func (d Distribution) Add(value float64, digits int, kept bool) {
	key := Round(value, digits)
	d[key] = d[key].Plus(Tallied(kept))
}

// Merge adds the counts of another one.
func (d Distribution) Merge(other Distribution) {
	for v, o := range other {
		d[v] = d[v].Plus(o)
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

// Round has the given number of significant digits.
func Round(v float64, digits int) float64 {
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
