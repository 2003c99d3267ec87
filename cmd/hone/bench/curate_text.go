package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate"
	"hone/data/curate/document"
	"hone/data/curate/filters"
	"hone/internal/atomicfile"
)

// prose is what Go's source holds for the crawl of hone bench curate. Folders go as a whole into one part or the other, so that no file is judged by that a
// neighbour of it was trained on.
type prose struct {
	good, held []string // pages that people wrote: the comments of a file, those of at least minWords words, in their order, each once
	machine    []string // source that programs wrote
}

// Which text makes a page.
const (
	minWords  = 15  // of a comment
	minPage   = 500 // bytes
	folders   = 20  // are parted: by the hash of its name a folder is one of so many,
	heldParts = 1   // of which so many are held out
	goodParts = 4   // and so many go into the crawl
)

// readProse reads the folder src of Go: the same text for the same release, wherever it is. Tests' data and vendored copies are left out.
func readProse(ctx context.Context, src fs.FS) (*prose, error) {
	p := &prose{}
	err := fs.WalkDir(src, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor") {
			return fs.SkipDir
		}
		part := xxh3.HashString(path.Dir(name)) % folders
		if d.IsDir() || path.Ext(name) != ".go" || part >= heldParts+goodParts {
			return nil
		}
		text, err := fs.ReadFile(src, name)
		if err == nil {
			p.add(text, part < heldParts)
		}
		return err
	})
	if err == nil && (len(p.good) == 0 || len(p.held) == 0 || len(p.machine) == 0) {
		err = errors.New("the source of Go's standard library is not whole (go env GOROOT); name texts by --raw and --held-out")
	}
	return p, err
}

// add sorts a file in; one that does not parse, such as an example of an error, has no page.
func (p *prose) add(source []byte, held bool) {
	f, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return
	}
	if ast.IsGenerated(f) {
		if !held {
			p.machine = append(p.machine, string(source))
		}
		return
	}
	switch page := commentsOf(f); {
	case len(page) < minPage:
	case held:
		p.held = append(p.held, page)
	default:
		p.good = append(p.good, page)
	}
}

// commentsOf is a page of a file's comments, paragraphs in one line as on a web page. Notices of copyright are none.
func commentsOf(f *ast.File) string {
	var b strings.Builder
	parse, print := comment.Parser{}, comment.Printer{TextWidth: -1}
	seen := map[string]bool{}
	for _, group := range f.Comments {
		text := group.Text()
		if seen[text] || len(strings.Fields(text)) < minWords || strings.HasPrefix(text, "Copyright") {
			continue
		}
		seen[text] = true
		b.Write(print.Text(parse.Parse(text)))
		b.WriteByte('\n')
	}
	return b.String()
}

// clean takes out of the held-out pages those that share 13 words in a row with a page of the crawl.
func (p *prose) clean(crawl string) error {
	d := filters.DefaultDecontaminate()
	d.Against = []string{crawl}
	step, _, err := d.Step()
	if err != nil {
		return err
	}
	var kept []string
	for _, text := range p.held {
		if step.Apply(&document.Doc{Text: text}) == "" {
			kept = append(kept, text)
		}
	}
	p.held = kept
	return nil
}

// page is a document of the crawl, by its kind.
type page struct{ kind, text string }

// writePages writes pages with ids that begin with their kinds.
func writePages(file string, pages []page) error {
	return atomicfile.WriteTo(file, func(w io.Writer) error {
		e := json.NewEncoder(w)
		for i, p := range pages {
			if err := e.Encode(map[string]string{"id": fmt.Sprintf("%s %d", p.kind, i), "text": p.text}); err != nil {
				return err
			}
		}
		return nil
	})
}

// kindsOf counts the pages of the made crawl and those that curation left, in the order of the kinds' names.
func kindsOf(raw, curated []string) ([]kindCount, error) {
	before, err := countKinds(raw)
	if err != nil {
		return nil, err
	}
	after, err := countKinds(curated)
	var kinds []kindCount
	for _, kind := range slices.Sorted(maps.Keys(before)) {
		kinds = append(kinds, kindCount{kind, before[kind], after[kind]})
	}
	return kinds, err
}

// countKinds counts pages by the kinds in their ids.
func countKinds(paths []string) (map[string]curate.Count, error) {
	counts := map[string]curate.Count{}
	for d, err := range (data.Sources{Paths: paths, IDField: "id"}).Documents(&data.Stats{}) {
		if err != nil {
			return nil, err
		}
		kind := d.ID[:max(0, strings.LastIndexByte(d.ID, ' '))]
		c := counts[kind]
		c.Documents++
		c.Bytes += int64(len(d.Text))
		counts[kind] = c
	}
	return counts, nil
}
