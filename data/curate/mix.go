package curate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"hone/data"
	"hone/internal/atomicfile"
)

// Ingredient is a source of a mix.
type Ingredient struct {
	Name   string
	Docs   func() iter.Seq2[data.Document, error] // from the beginning, the same every time
	Weight float64                                // share of the text, relative to the others'; positive
}

// MixConfig says what Mix does.
type MixConfig struct {
	Dir         string // folder of the result: part-N.jsonl.zst or .parquet, mixture.json
	Ingredients []Ingredient
	Amount      int64                      // tokens, or bytes where they are not counted, to write; 0: as All says
	All         bool                       // without an Amount: until every source was read once, the others again; else until the first one ends
	Tokens      func(text string) int      // counts the tokens of a text; nil: shares are of bytes
	ShardBytes  int64                      // text in a part
	Parquet     bool                       // parts are .parquet and not .jsonl.zst
	Progress    func(documents, sum int64) // documents and bytes or tokens so far
}

// Mixed is what Mix wrote.
type Mixed struct {
	Unit    string        `json:"unit"` // of shares: bytes or tokens
	Sources []MixedSource `json:"sources"`
	Total   Count         `json:"total"`
	Parts   int           `json:"parts"` // files
}

// MixedSource is what a mix has of a source.
type MixedSource struct {
	Name   string  `json:"name"`
	Wanted float64 `json:"wanted"` // share
	Share  float64 `json:"share"`
	Count
	Passes   int   `json:"passes"`   // times it was begun
	Repeated Count `json:"repeated"` // of Count, what was written before: how far the source was upsampled
}

// Mix writes documents of several sources in turn, so that at every point each has its share of the text to within one document: the next document is of
// the source that is furthest behind. A source that ends begins anew.
func Mix(ctx context.Context, cfg MixConfig) (_ *Mixed, err error) {
	m, err := newMixer(cfg)
	if err != nil {
		return nil, err
	}
	defer m.release()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := m.behind()
		d, ok, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case ok:
		case !s.gave:
			return nil, fmt.Errorf("mix: %s holds no document", s.Name)
		case m.over():
			return m.finish()
		default:
			s.rewind()
			continue
		}
		if err := m.write(s, d); err != nil {
			return nil, err
		}
		if cfg.Amount > 0 && m.amount(m.total) >= cfg.Amount {
			return m.finish()
		}
	}
}

type mixer struct {
	cfg     MixConfig
	sources []*mixing
	total   Count
	part    lineWriter // nil between parts
	inPart  int64      // bytes of text
	parts   int        // begun
}

// mixing is a source that is being read.
type mixing struct {
	Ingredient
	count, repeated Count
	passes          int  // begun
	gave            bool // a document in this pass
	ended           bool // once
	pull            func() (data.Document, error, bool)
	stop            func()
}

func newMixer(cfg MixConfig) (*mixer, error) {
	m := &mixer{cfg: cfg}
	for _, i := range cfg.Ingredients {
		m.sources = append(m.sources, &mixing{Ingredient: i})
	}
	for _, pattern := range []string{data.CurationState, data.CurationResult, data.MixtureResult, "part-*"} {
		if found, _ := filepath.Glob(filepath.Join(cfg.Dir, pattern)); len(found) > 0 {
			return nil, fmt.Errorf("%s already holds a corpus (%s); name another folder, or remove this one", cfg.Dir, filepath.Base(found[0]))
		}
	}
	if err := errors.Join(os.RemoveAll(m.path(workName)), os.MkdirAll(m.path(workName), 0o777)); err != nil {
		return nil, fmt.Errorf("mix: %w", err)
	}
	return m, nil
}

func (m *mixer) path(parts ...string) string {
	return filepath.Join(append([]string{m.cfg.Dir}, parts...)...)
}

// release ends what is open.
func (m *mixer) release() {
	for _, s := range m.sources {
		s.rewind()
	}
	if m.part != nil {
		m.part.abort()
	}
}

// next is the next document of the pass; ok is false behind the last.
func (s *mixing) next() (d data.Document, ok bool, err error) {
	if s.pull == nil {
		s.pull, s.stop = iter.Pull2(s.Docs())
		s.passes++
		s.gave = false
	}
	d, err, ok = s.pull()
	s.gave, s.ended = s.gave || ok, s.ended || !ok
	return d, ok, err
}

// rewind makes next begin another pass.
func (s *mixing) rewind() {
	if s.stop != nil {
		s.stop()
	}
	s.pull, s.stop = nil, nil
}

// behind is the source that has least of what it should have, the first of several.
func (m *mixer) behind() *mixing {
	has := func(s *mixing) float64 { return float64(m.amount(s.count)) / s.Weight }
	return slices.MinFunc(m.sources, func(a, b *mixing) int { return cmp.Compare(has(a), has(b)) })
}

// amount is what shares are of.
func (m *mixer) amount(c Count) int64 {
	if m.cfg.Tokens != nil {
		return c.Tokens
	}
	return c.Bytes
}

// over reports whether the mix ends, now that a source has.
func (m *mixer) over() bool {
	unended := func(s *mixing) bool { return !s.ended }
	return m.cfg.Amount == 0 && (!m.cfg.All || !slices.ContainsFunc(m.sources, unended))
}

func (m *mixer) write(s *mixing, d data.Document) error {
	l := newLine(&Doc{Text: string(d.Text), Source: d.Source, Record: d.Record, Offset: d.Offset, URL: d.URL, ID: d.ID})
	if m.cfg.Tokens != nil {
		l.Tokens = int64(m.cfg.Tokens(l.Text))
	}
	if m.part == nil {
		if err := m.begin(); err != nil {
			return err
		}
	}
	encoded, err := l.encode()
	if err == nil {
		err = m.part.write(l, encoded)
	}
	if err != nil {
		return fmt.Errorf("mix: %w", err)
	}
	size := l.size()
	s.count.plus(size)
	m.total.plus(size)
	if s.passes > 1 {
		s.repeated.plus(size)
	}
	if m.cfg.Progress != nil {
		m.cfg.Progress(m.total.Documents, m.amount(m.total))
	}
	if m.inPart += size.Bytes; m.inPart < m.cfg.ShardBytes {
		return nil
	}
	return m.end()
}

func (m *mixer) begin() (err error) {
	m.part, err = createPart(m.path(workName, partName(m.parts, m.cfg.Parquet)), m.cfg.Parquet, nil, nil)
	m.parts++
	return err
}

func (m *mixer) end() error {
	if m.part == nil {
		return nil
	}
	err := m.part.commit()
	m.part, m.inPart = nil, 0
	return err
}

// finish gives the parts their names and writes down what they are.
func (m *mixer) finish() (*Mixed, error) {
	if err := m.end(); err != nil {
		return nil, err
	}
	r := &Mixed{Unit: "bytes", Total: m.total, Parts: m.parts}
	if m.cfg.Tokens != nil {
		r.Unit = "tokens"
	}
	weights := 0.0
	for _, s := range m.sources {
		weights += s.Weight
	}
	for _, s := range m.sources {
		r.Sources = append(r.Sources, MixedSource{Name: s.Name, Wanted: s.Weight / weights, Share: share(int(m.amount(s.count)), int(m.amount(m.total))),
			Count: s.count, Passes: s.passes, Repeated: s.repeated})
	}
	text, err := json.MarshalIndent(r, "", "  ")
	for i := range m.parts {
		name := partName(i, m.cfg.Parquet)
		err = errors.Join(err, os.Rename(m.path(workName, name), m.path(name)))
	}
	if err == nil {
		err = errors.Join(os.Remove(m.path(workName)), atomicfile.WriteFile(m.path(data.MixtureResult), append(text, '\n')))
	}
	if err != nil {
		return nil, fmt.Errorf("mix: %w", err)
	}
	return r, nil
}
