package curate

import "hone/data/curate/document"

// documentBytes is the name of the distribution of lengths before any step, told apart by whether all steps kept the document.
const documentBytes = "document.bytes"

func (r *Result) note(n document.Note, kept bool) {
	if v, ok := n.Value.(float64); ok {
		r.score(n.Name, v, kept)
		return
	}
	if r.Labels[n.Name] == nil {
		r.Labels[n.Name] = map[string]document.Tally{}
	}
	label := n.Value.(string) // Label and Score note nothing else
	r.Labels[n.Name][label] = r.Labels[n.Name][label].Plus(document.Tallied(kept))
}

func (r *Result) score(name string, value float64, kept bool) {
	if r.Scores[name] == nil {
		r.Scores[name] = document.Distribution{}
	}
	r.Scores[name].Add(value, document.ScoreDigits, kept)
}

// mergeNotes adds the notes of a batch.
func (r *Result) mergeNotes(b *Result) {
	for name, d := range b.Scores {
		if r.Scores[name] == nil {
			r.Scores[name] = document.Distribution{}
		}
		r.Scores[name].Merge(d)
	}
	for name, labels := range b.Labels {
		if r.Labels[name] == nil {
			r.Labels[name] = map[string]document.Tally{}
		}
		for label, t := range labels {
			r.Labels[name][label] = r.Labels[name][label].Plus(t)
		}
	}
}
