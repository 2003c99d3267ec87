package curate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"hone/data"
	"hone/data/curate/document"
	"hone/internal/atomicfile"
)

// Ingredient is a source of a mix.
type Ingredient struct {
	Name   string
	Docs   func() iter.Seq2[data.Document, error] // from the beginning, the same every time
	Weight func() (float64, error)                // share of the text, relative to the others'; positive; asked for when a mix begins
}

// MixConfig says what Mix does.
type MixConfig struct {
	Dir         string // folder of the result: part-N.jsonl.zst or .parquet, mixture.json
	Fingerprint string // of the values and the sources: another one does not go on from what is there
	Ingredients []Ingredient
	Skip        []string                   // keys of what is skipped, such as on_bad_record: a mix that stopped at a bad record may go on with more of them, never with fewer
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

// Mix writes documents of several sources in turn, so that at every point each has its share of the text to within two documents: the next document is of
// the source that lacks most of it. A source that ends begins anew. It goes on from the parts that an earlier call with the same Fingerprint finished.
func Mix(ctx context.Context, cfg MixConfig) (_ *Mixed, err error) {
	m, err := newMixer(cfg)
	if err != nil {
		return nil, err
	}
	defer m.release()
	if text, err := os.ReadFile(m.path(data.MixtureResult)); err == nil { // it was finished
		done := &Mixed{}
		if json.Unmarshal(text, done) != nil {
			return nil, fmt.Errorf("mix: %s is damaged; remove the folder and start again", m.path(data.MixtureResult))
		}
		return done, nil
	}
	for !m.enough() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := m.behind()
		d, ok, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case ok:
		case s.Position == 0:
			return nil, fmt.Errorf("mix: %s holds no document; leave it out", s.Name)
		case m.amount(s.Count) == 0: // nor would there be more after another pass: it would be furthest behind for ever
			return nil, fmt.Errorf("mix: the documents of %s have no %s; leave it out", s.Name, m.unit())
		case m.over():
			return m.finish()
		default:
			s.rewind()
			continue
		}
		if err := m.write(s, d); err != nil {
			return nil, err
		}
	}
	return m.finish()
}

// enough reports whether the amount is written.
func (m *mixer) enough() bool { return m.cfg.Amount > 0 && m.amount(m.total) >= m.cfg.Amount }

type mixer struct {
	cfg     MixConfig
	sources []*mixing
	state   mixState
	total   Count
	part    lineWriter // nil between parts
	inPart  int64      // bytes of text
}

// mixState is what is in the parts that are done.
type mixState struct {
	Fingerprint string      `json:"fingerprint"`
	Skip        []string    `json:"skip,omitempty"`
	Parts       int         `json:"parts"`
	Total       Count       `json:"total"`
	Sources     []mixSource `json:"sources"`
}

// mixSource is how far a source is.
type mixSource struct {
	Portion  float64 `json:"portion"` // its weight
	Count    Count   `json:"count"`
	Repeated Count   `json:"repeated"`
	Passes   int     `json:"passes"`   // begun
	Position int     `json:"position"` // documents of this pass
	Ended    bool    `json:"ended"`    // once
}

// mixing is a source that is being read.
type mixing struct {
	Ingredient
	mixSource
	pull func() (data.Document, error, bool)
	stop func()
}

// newMixer begins a mix, or goes on with the one that is in the folder.
func newMixer(cfg MixConfig) (*mixer, error) {
	m := &mixer{cfg: cfg}
	if err := os.MkdirAll(cfg.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("mix: %w; name another folder for the result", err)
	}
	text, err := os.ReadFile(m.path(data.MixtureState))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, m.start()
	case err != nil:
		return nil, fmt.Errorf("mix: %w", err)
	case json.Unmarshal(text, &m.state) != nil || len(m.state.Sources) != len(cfg.Ingredients) && m.state.Fingerprint == cfg.Fingerprint:
		return nil, fmt.Errorf("mix: %s is damaged; remove the folder and start again", m.path(data.MixtureState))
	case m.state.Fingerprint != cfg.Fingerprint:
		return nil, fmt.Errorf("%s holds the mix of another recipe or of other data; name another folder, or remove this one", cfg.Dir)
	}
	for _, key := range m.state.Skip {
		if !slices.Contains(cfg.Skip, key) {
			return nil, fmt.Errorf("%s was made with %s=skip; name another folder, or remove this one", cfg.Dir, key)
		}
	}
	if _, err := atomicfile.Clean(cfg.Dir); err != nil {
		return nil, fmt.Errorf("mix: %w", err)
	}
	m.state.Skip = cfg.Skip
	m.total = m.state.Total
	for i, ingredient := range cfg.Ingredients {
		m.sources = append(m.sources, &mixing{Ingredient: ingredient, mixSource: m.state.Sources[i]})
	}
	return m, nil
}

// start begins a mix in a folder that has none.
func (m *mixer) start() error {
	for _, pattern := range []string{data.CurationState, data.CurationResult, data.MixtureResult, "part-*"} {
		if found, _ := filepath.Glob(m.path(pattern)); len(found) > 0 {
			return fmt.Errorf("%s already holds a corpus (%s); name another folder, or remove this one", m.cfg.Dir, filepath.Base(found[0]))
		}
	}
	m.state.Fingerprint, m.state.Skip = m.cfg.Fingerprint, m.cfg.Skip
	for _, ingredient := range m.cfg.Ingredients {
		weight, err := ingredient.Weight()
		if err != nil {
			return err
		}
		m.sources = append(m.sources, &mixing{Ingredient: ingredient, mixSource: mixSource{Portion: weight}})
	}
	return m.save()
}

// save writes down what the parts hold that are done.
func (m *mixer) save() error {
	m.state.Total, m.state.Sources = m.total, nil
	for _, s := range m.sources {
		m.state.Sources = append(m.state.Sources, s.mixSource)
	}
	text, err := json.Marshal(m.state)
	if err == nil {
		err = atomicfile.WriteFile(m.path(data.MixtureState), text)
	}
	if err != nil {
		return fmt.Errorf("mix: %w", err)
	}
	return nil
}

func (m *mixer) path(name string) string { return filepath.Join(m.cfg.Dir, name) }

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
		if err := s.open(); err != nil {
			return d, false, err
		}
	}
	d, err, ok = s.pull()
	if ok {
		s.Position++
	}
	s.Ended = s.Ended || !ok
	return d, ok, err
}

// open begins a pass, or reads past the documents that a run before this one wrote of it.
func (s *mixing) open() error {
	s.pull, s.stop = iter.Pull2(s.Docs())
	if s.Position == 0 {
		s.Passes++
	}
	for i := range s.Position {
		if _, err, ok := s.pull(); err != nil {
			return err
		} else if !ok {
			return fmt.Errorf("mix: %s ends after %d documents and had more before; start again in another folder", s.Name, i)
		}
	}
	return nil
}

// rewind makes next begin another pass.
func (s *mixing) rewind() {
	if s.stop != nil {
		s.stop()
	}
	s.pull, s.stop, s.Position = nil, nil, 0
}

// behind is the source that lacks most of its share of what is written, the first of several. By the ratio of what it has to its share, all of many small
// sources would come before a large one, which would lack the half of that from then on.
func (m *mixer) behind() *mixing {
	total, weights := float64(m.amount(m.total)), m.weights()
	// the conversion keeps the compiler from fusing product and difference where a processor can, which would break ties otherwise there
	lacks := func(s *mixing) float64 { return float64(s.Portion/weights*total) - float64(m.amount(s.Count)) }
	// of equal ones MaxFunc gives the first, so the order of the sources decides and nothing else
	return slices.MaxFunc(m.sources, func(a, b *mixing) int { return cmp.Compare(lacks(a), lacks(b)) })
}

// weights is the sum of the sources' weights.
func (m *mixer) weights() (sum float64) {
	for _, s := range m.sources {
		sum += s.Portion
	}
	return sum
}

// amount is what shares are of.
func (m *mixer) amount(c Count) int64 {
	if m.cfg.Tokens != nil {
		return c.Tokens
	}
	return c.Bytes
}

// unit is what amounts are counted in.
func (m *mixer) unit() string {
	if m.cfg.Tokens != nil {
		return "tokens"
	}
	return "bytes"
}

// over reports whether the mix ends, now that a source has.
func (m *mixer) over() bool {
	unended := func(s *mixing) bool { return !s.Ended }
	return m.cfg.Amount == 0 && (!m.cfg.All || !slices.ContainsFunc(m.sources, unended))
}

func (m *mixer) write(s *mixing, d data.Document) error {
	l := newLine(document.New(d), 0)
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
	s.Count.plus(size)
	m.total.plus(size)
	if s.Passes > 1 {
		s.Repeated.plus(size)
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
	m.part, err = createPart(m.path(partName(m.state.Parts, m.cfg.Parquet)), m.cfg.Parquet, nil, nil)
	return err
}

func (m *mixer) end() error {
	if m.part == nil {
		return nil
	}
	if err := m.part.commit(); err != nil {
		return err
	}
	m.part, m.inPart = nil, 0
	m.state.Parts++
	return m.save()
}

// finish writes down what the parts are.
func (m *mixer) finish() (*Mixed, error) {
	if err := m.end(); err != nil {
		return nil, err
	}
	r := &Mixed{Unit: m.unit(), Total: m.total, Parts: m.state.Parts}
	weights := m.weights()
	for _, s := range m.sources {
		r.Sources = append(r.Sources, MixedSource{Name: s.Name, Wanted: s.Portion / weights, Share: document.Share(int(m.amount(s.Count)), int(m.amount(m.total))),
			Count: s.Count, Passes: s.Passes, Repeated: s.Repeated})
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = atomicfile.WriteFile(m.path(data.MixtureResult), append(text, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("mix: %w", err)
	}
	return r, nil
}
