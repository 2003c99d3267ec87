package document

import "math"

// Note is a number (float64) or a word (string) that a step judged a document by.
type Note struct {
	Name  string // STEP.NAME
	Value any    // float64 or string
}

// Score notes a number that the running step judges the document by, such as a share or a perplexity, to four decimals, under STEP.NAME. It stands
// beside the text in the result, and the report shows its distribution over what the step kept and what it rejected.
func (d *Doc) Score(name string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return // JSON has no such numbers
	}
	// Four decimals tell any two documents apart that a person would, and keep the last bits of an addition's order out of the result.
	d.notes = append(d.notes, Note{name, math.Round(value*1e4) / 1e4})
}

// Label notes a word, likewise; there may be few different ones.
func (d *Doc) Label(name, value string) { d.notes = append(d.notes, Note{name, value}) }

// Scores are the notes by name, nil when there are none.
func (d *Doc) Scores() map[string]any {
	if len(d.notes) == 0 {
		return nil
	}
	all := make(map[string]any, len(d.notes))
	for _, n := range d.notes {
		all[n.Name] = n.Value
	}
	return all
}

// Notes are all numbers and words, in the order in which steps noted them.
func (d *Doc) Notes() []Note { return d.notes }
