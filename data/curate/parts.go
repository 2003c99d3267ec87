package curate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"hone/data"
	"hone/internal/atomicfile"
)

// copied is a line of duplicates.jsonl.
type copied struct {
	Removed string `json:"removed"`
	Kept    string `json:"kept"`
	Kind    string `json:"kind"` // exact or near
}

// copies says which documents are copies of which.
type copies struct{ exact, near *clusters }

// of says what is kept in place of a document, and why; kind is empty for one that stays.
func (c copies) of(doc uint64) (kept uint64, kind string) {
	if kept, other := c.exact.keptInstead(doc); other {
		return kept, "exact"
	}
	if kept, other := c.near.keptInstead(doc); other {
		return kept, "near"
	}
	return doc, ""
}

// has reports whether a document has copies or is one.
func (c copies) has(doc uint64) bool {
	_, exact := c.exact.parent[doc]
	_, near := c.near.parent[doc]
	return exact || near
}

// removal is a document that is left out for another.
type removal struct {
	doc, kept uint64
	kind      string
}

// parting turns shards into parts.
type parting struct {
	r       *runner
	same    copies
	doc     uint64            // number of the next document
	places  map[uint64]string // of documents with copies
	removed []removal
	browser *browser
}

// write writes the parts, which are shards without the duplicates, and then which document stands for which.
func (r *runner) write(ctx context.Context, same copies) error {
	p := &parting{r: r, same: same, places: map[uint64]string{}, browser: newBrowser(same)}
	for i := range r.state.Shards {
		if err := p.part(ctx, i); err != nil {
			return err
		}
	}
	err := atomicfile.WriteTo(r.path(duplicatesName), func(w io.Writer) error {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		for _, x := range p.removed {
			if err := out.Encode(copied{p.places[x.doc], p.places[x.kept], x.kind}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("curate: %w", err)
	}
	r.clusters, err = p.browser.finish(r)
	return err
}

// part writes a part, or only reads the shard again when an earlier run wrote it.
func (p *parting) part(ctx context.Context, i int) (err error) {
	var out lineWriter
	if i >= len(p.r.state.Parts) {
		if out, err = p.r.createPart(i); err != nil {
			return err
		}
	}
	var count parted
	for l, err := range p.r.lines(i) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = p.line(l, out, &count)
		}
		if err != nil {
			if out != nil {
				out.abort()
			}
			return err
		}
	}
	if out == nil {
		return nil
	}
	if err := out.commit(); err != nil {
		return err
	}
	p.r.state.Parts = append(p.r.state.Parts, count)
	return p.r.save()
}

func (p *parting) line(l line, out lineWriter, count *parted) error {
	doc := p.doc
	p.doc++
	if p.same.has(doc) {
		p.places[doc] = data.Document{Source: l.Source, Record: l.Record}.Place()
		p.browser.see(doc, l)
	}
	kept, kind := p.same.of(doc)
	if kind != "" {
		p.removed = append(p.removed, removal{doc, kept, kind})
	}
	switch kind {
	case "exact":
		count.Exact.plus(l.size())
	case "near":
		count.Near.plus(l.size())
	default:
		count.Kept.plus(l.size())
		if out != nil {
			return out.write(l)
		}
	}
	return nil
}
