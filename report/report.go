// Package report turns the folder of a run into one page, report.html, that explains the run to a person:
// curves, baselines, samples, facts and the recipe; and that of a curation into one of what was left out and why. The page needs no network and no other file.
package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"path/filepath"

	"hone/internal/atomicfile"
)

//go:embed frame.html
var frameHTML string

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// frame is what all pages have: frame.html.
type frame struct {
	Title, Subtitle string
	CSS             template.CSS
	JS              template.JS
	Tiles           []tile
}

// page is what page.html shows.
type page struct {
	frame
	Answers        []*figure // score and KL of a run that learns from rewards
	Loss           *figure
	Small          []*figure // learning rate, gradient norm, throughput
	Metrics        []*figure // further ones, one each
	Tables         []titled
	Evals          *table
	Samples        []sample
	Notes          []note
	Facts          []fact
	Recipe, Config string // recipe.yaml and config.json as they are
}

// tile is one number at the top of the page.
type tile struct{ Label, Value, Note string }

// fact is a row of the table of what is known about the run.
type fact struct{ Name, Value string }

// table is a heading row and rows of cells.
type table struct {
	Head []string
	Rows [][]string
}

// Write reads the run folder dir and writes dir/report.html, which it returns the path of. A run that is not finished gives
// a report of what there is.
func Write(dir string) (string, error) {
	r, err := load(dir)
	if err != nil {
		return "", fmt.Errorf("report on %s: %w", dir, err)
	}
	html, err := execute(pageHTML, r.page())
	if err != nil {
		return "", fmt.Errorf("report on %s: %w", dir, err)
	}
	path := filepath.Join(dir, "report.html")
	if err := atomicfile.WriteFile(path, html); err != nil {
		return "", err
	}
	return path, nil
}

// execute fills a page in.
func execute(html string, data any) ([]byte, error) {
	t, err := template.New("page").Parse(frameHTML + html)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (r *run) page() *page {
	p := &page{
		frame: frame{Title: r.name, Subtitle: r.subtitle(), CSS: template.CSS(pageCSS), JS: template.JS(pageJS), Tiles: r.tiles()},
		Loss:  r.lossFigure(), Evals: r.evalTable(), Tables: r.tables, Samples: r.samples, Notes: r.notes,
		Facts: r.facts(), Recipe: r.recipe, Config: r.config,
	}
	p.Answers, p.Metrics = r.metricFigures()
	for _, f := range []*figure{r.rateFigure(), r.normFigure(), r.speedFigure()} {
		if f != nil {
			p.Small = append(p.Small, f)
		}
	}
	return p
}
