package recipe

import (
	"fmt"
	"slices"
	"strings"

	"hone/data"
	"hone/data/curate"
)

// filter is a step by its name in a recipe.
type filter struct {
	name     string
	validate func() error // of its section, nil when every value can be meant
	files    []string     // that it reads before it begins
	make     func() (curate.Step, error)
}

// plain is a step that needs no more than its values.
func plain(name string, step curate.Step) filter {
	return filter{name: name, make: func() (curate.Step, error) { return step, nil }}
}

// known are all filters. notes are what the user is told about the files that they read.
func (c *Curate) known(notes *[]string) []filter {
	u := c.URLs
	return []filter{
		plain("mend", curate.Mend()),
		{name: "length", validate: c.Length.Validate, make: func() (curate.Step, error) { return c.Length.Step(), nil }},
		{name: "language", validate: c.Language.Validate, make: func() (curate.Step, error) { return c.Language.Step(), nil }},
		{name: "urls", files: slices.Concat(u.Hosts, u.Pages, u.Words, u.Parts, u.SoftWords), make: u.Step},
		{name: "words", validate: c.Words.Validate, files: c.Words.Lists, make: c.Words.Step},
		plain("pii", c.PII.Step()),
		plain("gopher_quality", c.GopherQuality.Step()),
		plain("gopher_repetition", c.GopherRepetition.Step()),
		plain("c4", c.C4.Step()),
		plain("fineweb", c.FineWeb.Step()),
		plain("code", c.Code.Step()),
		{name: "decontaminate", validate: c.Decontaminate.Validate, files: c.Decontaminate.Against, make: func() (curate.Step, error) {
			step, note, err := c.Decontaminate.Step()
			if note != "" {
				*notes = append(*notes, note)
			}
			return step, err
		}},
	}
}

// chosen are the filters that the recipe names, in their order.
func (c *Curate) chosen(notes *[]string) (list []filter, err error) {
	known := c.known(notes)
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

// steps are the steps that filters name, and a key of the files that they read.
func (c *Curate) steps(notes *[]string) (steps []curate.Step, key string, err error) {
	chosen, err := c.chosen(notes)
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
		step, err := f.make()
		if err != nil {
			return nil, "", err
		}
		steps = append(steps, step)
	}
	return steps, key, nil
}
