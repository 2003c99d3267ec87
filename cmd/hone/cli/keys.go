package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"hone/recipe/config"
)

// SplitArgs tells a recipe's path, the first argument without "=" wherever it stands, from overrides.
func SplitArgs(args []string) (path string, overrides []string) {
	i := slices.IndexFunc(args, func(arg string) bool { return !strings.Contains(arg, "=") })
	if i < 0 {
		return "", args
	}
	return args[i], slices.Delete(slices.Clone(args), i, i+1)
}

// Keys lists the keys of a recipe with their defaults.
func Keys(c any) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range config.Fields(c) {
		doc := f.Doc
		if f.Default != "" {
			doc += " [" + f.Default + "]"
		}
		fmt.Fprintf(w, "  %s\t%s\n", f.Path, doc)
	}
	w.Flush()
	return b.String()
}

// knowing is a recipe that knows which of its keys have no effect beside the others.
type knowing interface{ Unused(key string) string }

// NoteUnused tells of keys of the recipe c that are set, so that they are not as in defaults, and change nothing.
func (a *App) NoteUnused(c, defaults knowing) {
	for _, note := range unused(c, defaults) {
		fmt.Fprintln(a.Err, "note:", note)
	}
}

// unused says which keys of a recipe are not as by default and change nothing.
func unused(c, defaults knowing) (notes []string) {
	before, now := config.Flatten(defaults), config.Flatten(c)
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if with := c.Unused(key); with != "" && now[key] != before[key] {
			notes = append(notes, fmt.Sprintf("%s has no effect with %s", key, with))
		}
	}
	return notes
}
