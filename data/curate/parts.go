package curate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"unique"

	"hone/data"
	"hone/data/curate/dedup"
	"hone/internal/atomicfile"
)

// copied is a line of duplicates.jsonl.
type copied struct {
	Removed string `json:"removed"`
	Kept    string `json:"kept"`
	Kind    string `json:"kind"` // exact, near or id
}

// copies says which documents are copies of which.
//
// ids are documents of one name, whatever their texts.
type copies struct{ exact, near, ids *dedup.Clusters }

// of says what is kept in place of a document, and why; kind is empty for one that stays.
func (c copies) of(doc uint64) (kept uint64, kind string) {
	if kept, other := c.ids.KeptInstead(doc); other {
		return kept, "id"
	}
	if kept, other := c.exact.KeptInstead(doc); other {
		return kept, "exact"
	}
	if kept, other := c.near.KeptInstead(doc); other {
		return kept, "near"
	}
	return doc, ""
}

// has reports whether a document has copies or is one.
func (c copies) has(doc uint64) bool {
	return c.exact.Has(doc) || c.near.Has(doc) || c.ids.Has(doc)
}

// removal is a document that is left out for another.
type removal struct {
	doc, kept uint64
	kind      string
}

// place is where a document comes from; the names of files, which many share, are held once.
type place struct {
	source unique.Handle[string]
	record int
}

func (p place) String() string {
	return data.Document{Source: p.source.Value(), Record: p.record}.Place()
}

// parting turns shards into parts.
type parting struct {
	r       *runner
	same    copies
	places  map[uint64]place // of documents with copies
	removed []removal
	browser *browser
	tokens  []func(text string) int // of each worker, nil when they are not counted
}

// write writes the parts, which are shards without the duplicates and without what the passes cut, and then which document stands for which.
func (r *runner) write(ctx context.Context, same copies) error {
	p := &parting{r: r, same: same, places: map[uint64]place{}, browser: newBrowser(same), tokens: r.counters()}
	for i := range r.state.Shards {
		if err := ctx.Err(); err != nil { // the goroutines of a small shard may end before they notice the cancellation
			return err
		}
		if err := p.part(ctx, i); err != nil {
			return err
		}
	}
	err := atomicfile.WriteTo(r.path(duplicatesName), func(w io.Writer) error {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		for _, x := range p.removed {
			if err := out.Encode(copied{p.places[x.doc].String(), p.places[x.kept].String(), x.kind}); err != nil {
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

// counters make what counts tokens, for each worker.
func (r *runner) counters() []func(string) int {
	all := make([]func(string) int, r.cfg.Workers)
	for w := range all {
		if r.cfg.Tokens != nil {
			all[w] = r.cfg.Tokens()
		}
	}
	return all
}

// part writes a part, or only notes the copies in the shard when an earlier run wrote it.
func (p *parting) part(ctx context.Context, i int) error {
	in := shardReader{i, p.r.sets(len(p.r.cfg.Passes), 0), p.same}
	if i < len(p.r.state.Parts) {
		for it, err := range p.r.items(in) {
			if err == nil {
				err = p.note(it)
			}
			if err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	out, err := p.r.createPart(i)
	if err != nil {
		return err
	}
	var sum parted
	found := p.r.newFunnel() // examples and scores
	err = p.r.eachItem(ctx, in, p.work, func(it *item) error {
		if err := p.note(it); err != nil {
			return err
		}
		sum.plus(&it.counts)
		found.merge(&Result{Examples: it.cut})
		if it.counts.Kept.Documents == 0 {
			return nil
		}
		for _, n := range it.scores {
			found.note(n, true)
		}
		return out.write(it.line, it.out)
	})
	if err != nil {
		out.abort()
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	p.r.state.Parts = append(p.r.state.Parts, sum)
	p.r.state.Funnel.merge(&found)
	p.r.progress("parts", p.r.before(i+1))
	return p.r.save()
}

// work makes the line of a document that stays.
func (p *parting) work(w int, it *item) error {
	stays, err := p.r.view(it, len(p.r.cfg.Passes), p.tokens[w])
	if err != nil || !stays {
		return err
	}
	it.counts.Kept.plus(it.line.size())
	if p.r.cfg.Records {
		it.out, err = compact(it.line.Text)
		return err
	}
	it.out, err = it.line.encode()
	return err
}

// note remembers the place of a document with copies, and counts one that goes for another.
func (p *parting) note(it *item) error {
	if !p.same.has(it.doc) {
		return nil
	}
	var whole line // without cuts
	if err := whole.load(it.stored); err != nil {
		return err
	}
	p.places[it.doc] = place{unique.Make(whole.Source), whole.Record}
	p.browser.see(it.doc, whole)
	if it.copied != "" {
		p.removed = append(p.removed, removal{it.doc, it.kept, it.copied})
	}
	switch it.copied {
	case "exact":
		it.counts.Exact.plus(whole.size())
	case "id":
		it.counts.IDs.plus(whole.size())
	case "near":
		it.counts.Near.plus(whole.size())
	}
	return nil
}

// compact is a record without insignificant space, as a line.
func compact(record string) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(record)); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
