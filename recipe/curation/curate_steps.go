package curation

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/data"
	"hone/data/curate/classifier"
	"hone/data/curate/document"
	"hone/data/curate/filters"
	"hone/recipe"
)

// filter is a step by its name in a recipe.
type filter struct {
	name     string
	validate func() error // of its section, nil when every value can be meant
	files    []string     // that it reads before it begins
	make     func() (document.Step, error)
}

// stepRun is what steps are made with.
type stepRun struct {
	ctx     context.Context
	env     recipe.Env
	sources data.Sources
	notes   []string // that the user is told
	frees   []func() // give back what steps hold
}

// free gives back what steps hold, such as a model.
func (r *stepRun) free() {
	for _, f := range r.frees {
		f()
	}
}

// plain is a step that needs no more than its values.
func plain(name string, step document.Step) filter { return checked(name, nil, step) }

// checked is such a step that not all values can be meant of.
func checked(name string, validate func() error, step document.Step) filter {
	return filter{name: name, validate: validate, make: func() (document.Step, error) { return step, nil }}
}

// known are all filters.
func (c *Curate) known(r *stepRun) []filter {
	// steps are made when a run begins, not here: some read files or train, and to validate a recipe must stay cheap
	u := c.URLs
	return []filter{
		plain("mend", filters.Mend()),
		checked("length", c.Length.Validate, c.Length.Step()),
		checked("language", c.Language.Validate, c.Language.Step()),
		{name: "urls", validate: u.Validate, files: slices.Concat(u.Hosts, u.Pages, u.Words, u.Parts, u.SoftWords), make: u.Step},
		{name: "words", validate: c.Words.Validate, files: c.Words.Lists, make: c.Words.Step},
		plain("pii", c.PII.Step()),
		checked("gopher_quality", c.GopherQuality.Validate, c.GopherQuality.Step()),
		checked("gopher_repetition", c.GopherRepetition.Validate, c.GopherRepetition.Step()),
		plain("c4", c.C4.Step()),
		checked("fineweb", c.FineWeb.Validate, c.FineWeb.Step()),
		checked("code", c.Code.Validate, c.Code.Step()),
		{name: "decontaminate", validate: c.Decontaminate.Validate, files: c.Decontaminate.Against, make: func() (document.Step, error) {
			step, note, err := c.Decontaminate.Step()
			if note != "" {
				r.notes = append(r.notes, note)
			}
			return step, err
		}},
		{name: "classifier", validate: c.Classifier.Validate, files: c.Classifier.Files(), make: func() (document.Step, error) {
			m, err := c.classifier()
			if err != nil {
				return document.Step{}, err
			}
			r.notes = append(r.notes, "classifier: "+m.Report.String())
			return m.Step(c.Classifier.Threshold), nil
		}},
		{name: "perplexity", validate: c.Perplexity.Validate, files: c.Perplexity.files(), make: func() (document.Step, error) {
			sample := r.sources
			if len(c.Perplexity.Reference) > 0 {
				sample.Paths = c.Perplexity.Reference
			}
			g, free, err := c.Perplexity.gauge(r.ctx, r.env, c.Out, sample)
			if err != nil {
				return document.Step{}, err
			}
			r.frees = append(r.frees, free)
			return g.step(), nil
		}},
	}
}

// classifier reads the classifier, or trains it; a run that goes on finds the one that it trained in its folder.
func (c *Curate) classifier() (*classifier.Model, error) {
	if c.Classifier.Model != "" {
		return classifier.Load(c.Classifier.Model)
	}
	path := filepath.Join(c.Out, classifierName)
	if _, err := os.Stat(path); err == nil {
		return classifier.Load(path)
	}
	m, err := c.Classifier.Train()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Out, 0o777); err != nil {
		return nil, fmt.Errorf("curate: %w; name another folder for the result", err)
	}
	return m, m.Save(path)
}

// classifierName is the file of a classifier that was trained for a run.
const classifierName = "classifier.safetensors"

// chosen are the filters that the recipe names, in their order.
func (c *Curate) chosen(r *stepRun) (list []filter, err error) {
	known := c.known(r)
	for i, name := range c.Filters {
		at := slices.IndexFunc(known, func(f filter) bool { return f.name == name })
		if at < 0 {
			names := []string{}
			for _, f := range known {
				names = append(names, f.name)
			}
			return nil, fmt.Errorf("filters names %q; known are %s", name, strings.Join(names, ", "))
		}
		if slices.Contains(c.Filters[:i], name) {
			return nil, fmt.Errorf("filters names %s twice", name)
		}
		list = append(list, known[at])
	}
	return list, nil
}

// Unused names the choice beside which a key has no effect: that of filters or dedup which lacks the key's section. It is empty for a key that has one.
func (c *Curate) Unused(key string) string {
	section, _, inside := strings.Cut(key, ".")
	if !inside {
		return ""
	}
	if with, copies := unusedCopies(section, c.Dedup); copies {
		return with
	}
	if slices.Contains(c.Filters, section) {
		return ""
	}
	return "filters, which lack " + section
}

// unusedCopies is Unused of the sections that say how copies are found; copies is false for other sections.
func unusedCopies(section string, dedup []string) (with string, copies bool) {
	switch section {
	case "near", "paragraphs", "lines", "substring":
		if slices.Contains(dedup, section) || section == "near" && slices.Contains(dedup, "minhash") {
			return "", true
		}
		return "dedup, which lacks " + section, true
	}
	return "", false
}

// filesKey identifies the files that the chosen filters read.
func (c *Curate) filesKey(r *stepRun) (list []filter, key string, err error) {
	chosen, err := c.chosen(r)
	if err != nil {
		return nil, "", err
	}
	for _, f := range chosen {
		if len(f.files) > 0 {
			k, err := data.Sources{Paths: f.files}.Key()
			if err != nil {
				return nil, "", err
			}
			key += k
		}
	}
	return chosen, key, nil
}
