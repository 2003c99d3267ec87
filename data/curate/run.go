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
	"hone/data/curate/dedup"
	"hone/data/curate/document"
	"hone/data/curate/extsort"
	"hone/data/curate/spans"
	"hone/internal/atomicfile"
)

// Config says what Run does.
type Config struct {
	Dir         string                       // folder of the result: part-N.jsonl.zst or .parquet, curation.json, duplicates.jsonl
	Steps       []document.Step              // in their order
	Exact       bool                         // of documents with equal texts one stays
	Near        *dedup.MinHash               // of near duplicates the longest stays; nil: no such search
	ShardBytes  int64                        // text in a part
	Workers     int                          // goroutines; the result does not depend on it
	Fingerprint string                       // of the steps' values and the input: another one does not go on from what is there
	Passes      []spans.Pass                 // then, in their order, what stood before is cut out of documents
	SortEntries int                          // entries that are sorted in memory, 24 bytes each; 0: 4 million
	Parquet     bool                         // parts are .parquet and not .jsonl.zst
	Records     bool                         // documents are records of fine-tuning data, kept as they are; near duplicates are those with near prompts
	Tokens      func() func(text string) int // makes what counts the tokens of a text, one for each goroutine; nil: tokens are not counted
	SameID      SameID                       // what happens to documents that have the name of another
	Policy      string                       // what happened to input that cannot be read: what is finished is refused with another one
	Notes       []string                     // what the user should know about the steps
	Progress    func(stage string, documents int64)
}

// Count is documents, the bytes of their texts, and their tokens where a tokenizer is given.
type Count struct {
	Documents int64 `json:"documents"`
	Bytes     int64 `json:"bytes"`
	Tokens    int64 `json:"tokens,omitempty"`
}

func (c *Count) plus(d Count) {
	c.Documents += d.Documents
	c.Bytes += d.Bytes
	c.Tokens += d.Tokens
}

// StepCount is what a step did.
type StepCount struct {
	Name     string           `json:"name"`
	Kept     Count            `json:"kept"`
	Changed  int64            `json:"changed"` // documents whose text it changed
	Rejected map[string]Count `json:"rejected"`
}

// Example is a document that was left out.
type Example struct {
	Step   string `json:"step"`
	Reason string `json:"reason"`
	Place  string `json:"place"`
	Text   string `json:"text"` // its beginning
}

// Result is the funnel.
type Result struct {
	Read     Count       `json:"read"`
	Steps    []StepCount `json:"steps"`
	Exact    Count       `json:"exact_duplicates"` // removed
	Near     Count       `json:"near_duplicates"`  // removed
	IDs      Count       `json:"duplicate_ids"`    // removed, when the policy is to skip them
	Cuts     []CutCount  `json:"cuts,omitempty"`
	Kept     Count       `json:"kept"`
	Searched []string    `json:"searched,omitempty"` // kinds of duplicates: exact, near
	Notes    []string    `json:"notes,omitempty"`
	Examples []Example   `json:"examples,omitempty"`

	Scores   map[string]document.Distribution     `json:"scores"`             // what the steps judged by
	Labels   map[string]map[string]document.Tally `json:"labels"`             // words that the steps judged by
	Clusters []Cluster                            `json:"clusters,omitempty"` // some sets of duplicates
}

// Names of files in the folder; package data knows by those of the state and the result what to read of it.
const (
	workName       = "work"
	stateName      = data.CurationState
	resultName     = data.CurationResult
	duplicatesName = "duplicates.jsonl"
)

// Run curates documents into cfg.Dir. It goes on from what an earlier call with the same Fingerprint finished: shards that
// are done are not done again, and documents before them are only read past. The result depends on the documents and cfg alone.
func Run(ctx context.Context, docs iter.Seq2[data.Document, error], cfg Config) (*Result, error) {
	if cfg.SortEntries == 0 {
		cfg.SortEntries = 4 << 20
	}
	r := &runner{cfg: cfg}
	if err := r.open(); err != nil {
		return nil, err
	}
	if was := r.state.SameID; was != "" && was != cmp.Or(cfg.SameID, KeepSameID) {
		return nil, fmt.Errorf("%s was made with on_same_id=%s; name another folder, or remove this one", cfg.Dir, was)
	}
	if was := r.state.Policy; r.state.Result != nil && was != cfg.Policy {
		return nil, fmt.Errorf("%s was made with %s; name another folder, or remove this one", cfg.Dir, was)
	}
	if r.state.Result != nil {
		return r.state.Result, r.clear() // once more, as a run may have been stopped there
	}
	if !r.state.Filtered {
		if err := r.filter(ctx, docs); err != nil {
			return nil, err
		}
	}
	same, err := r.duplicates(ctx)
	if err != nil {
		return nil, err
	}
	r.state.SameID = cmp.Or(cfg.SameID, KeepSameID)
	if err := r.passes(ctx, same); err != nil {
		return nil, err
	}
	if err := r.write(ctx, same); err != nil {
		return nil, err
	}
	return r.finish()
}

// state is what is done.
type state struct {
	Format      int     `json:"format"` // of the work folder
	Fingerprint string  `json:"fingerprint"`
	Input       int64   `json:"input"` // documents that the shards cover
	Shards      []Count `json:"shards"`
	Filtered    bool    `json:"filtered"` // the shards are all
	Funnel      Result  `json:"funnel"`
	Result      *Result `json:"result,omitempty"`
	Policy      string  `json:"policy,omitempty"` // that the result was made with

	SameID SameID      `json:"same_id,omitempty"` // the policy of what follows
	Passes []passState `json:"passes,omitempty"`
	Parts  []parted    `json:"parts"`
}

// parted is what became of a shard's documents.
type parted struct {
	Kept, Exact, Near, IDs Count
	Cuts                   []CutCount
}

func (p *parted) plus(q *parted) {
	p.Kept.plus(q.Kept)
	p.Exact.plus(q.Exact)
	p.Near.plus(q.Near)
	p.IDs.plus(q.IDs)
	for i, c := range q.Cuts {
		if i == len(p.Cuts) {
			p.Cuts = append(p.Cuts, CutCount{})
		}
		p.Cuts[i].plus(c)
	}
}

type runner struct {
	cfg      Config
	state    state
	clusters []Cluster // to show
	notes    []string
	spare    [][]extsort.Entry // buffers of the workers' sorters, for the next shard
}

func (r *runner) path(parts ...string) string {
	return filepath.Join(append([]string{r.cfg.Dir}, parts...)...)
}

// Files of shard i in the work folder: documents, and what they are compared by.
func shardName(i int) string { return fmt.Sprintf("kept-%05d.zst", i) }

func keysName(i int) string { return fmt.Sprintf("kept-%05d.keys", i) }

// Claim makes a folder that of a fingerprint, for one who puts files there before Run does. It refuses the folder of another.
func Claim(dir, fingerprint string) error {
	r := &runner{cfg: Config{Dir: dir, Fingerprint: fingerprint}}
	if err := r.open(); err != nil {
		return err
	}
	return r.save()
}

func (r *runner) open() error {
	if err := os.MkdirAll(r.path(workName), 0o777); err != nil {
		return fmt.Errorf("curate: %w; name another folder for the result", err)
	}
	for _, dir := range []string{r.cfg.Dir, r.path(workName)} {
		if _, err := atomicfile.Clean(dir); err != nil {
			return fmt.Errorf("curate: %w", err)
		}
	}
	text, err := os.ReadFile(r.path(stateName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.state = state{Format: workFormat, Fingerprint: r.cfg.Fingerprint, Funnel: r.newFunnel()}
		return nil
	case err != nil:
		return fmt.Errorf("curate: %w", err)
	case json.Unmarshal(text, &r.state) != nil:
		return fmt.Errorf("curate: %s is damaged; remove the folder and start again", r.path(stateName))
	case r.state.Fingerprint != r.cfg.Fingerprint:
		return fmt.Errorf("%s holds the work of another recipe or of other data; name another folder, or remove this one", r.cfg.Dir)
	// what is finished needs no work folder
	case r.state.Format != workFormat && r.state.Result == nil:
		return fmt.Errorf("%s was begun by another version of hone; remove it and start again", r.cfg.Dir)
	case r.state.Input == 0 && len(r.state.Shards) == 0 && !r.state.Filtered: // claimed
		r.state.Funnel = r.newFunnel()
	}
	return nil
}

func (r *runner) progress(stage string, documents int64) {
	if r.cfg.Progress != nil {
		r.cfg.Progress(stage, documents)
	}
}

func (r *runner) save() error {
	text, err := json.Marshal(r.state)
	if err == nil {
		err = atomicfile.WriteFile(r.path(stateName), text)
	}
	if err != nil {
		return fmt.Errorf("curate: %w", err)
	}
	return nil
}

// duplicates finds which documents are copies of which.
func (r *runner) duplicates(ctx context.Context) (copies, error) {
	same := copies{dedup.NewClusters(), dedup.NewClusters(), dedup.NewClusters()}
	defer func() { // shards are read by several goroutines
		for _, c := range []*dedup.Clusters{same.ids, same.exact, same.near} {
			c.Settle()
		}
	}()
	if err := r.sameIDs(ctx, same.ids); err != nil {
		return same, err
	}
	if r.cfg.Exact {
		if err := r.group(ctx, same.exact, exactKeys, same.ids); err != nil {
			return same, err
		}
	}
	if r.cfg.Near == nil {
		return same, nil
	}
	return same, r.group(ctx, same.near, bandKeys, same.ids)
}

// group joins the documents that share a key of a kind, but for those that without says are left out anyway: as the longest of their cluster they would take
// the others along.
func (r *runner) group(ctx context.Context, c *dedup.Clusters, kind keyKind, without *dedup.Clusters) error {
	keys, err := r.sortKeys(ctx, kind, without)
	defer keys.Remove()
	if err != nil {
		return err
	}
	alike, done, err := r.comparison(ctx, kind, keys)
	if err != nil {
		return err
	}
	defer done()
	most := dedup.ComparedWith
	if kind == exactKeys || r.cfg.Near.Threshold == 0 { // what is like the first is like all
		most = 1
	}
	return eachMember(ctx, keys, c.Joining(most, alike))
}

// comparison decides whether two documents with the same key are copies.
func (r *runner) comparison(ctx context.Context, kind keyKind, keys *extsort.Sorter) (alike func(a, b extsort.Entry) (bool, error), done func(), err error) {
	switch {
	case kind == exactKeys:
		return func(a, b extsort.Entry) (bool, error) { return a.Bytes == b.Bytes, nil }, func() {}, nil
	case r.cfg.Near.Threshold == 0:
		return func(_, _ extsort.Entry) (bool, error) { return true, nil }, func() {}, nil
	case r.cfg.Near.Exact:
		if err := r.writeGrams(ctx, keys.Sorted()); err != nil {
			return nil, nil, err
		}
		paths, first := r.shardFiles(gramsName)
		sets, err := dedup.OpenGrams(paths, first, r.cfg.Near.Threshold)
		if err != nil {
			return nil, nil, err
		}
		return sets.Alike, sets.Close, nil
	}
	read, err := r.openSignatures()
	if err != nil {
		return nil, nil, err
	}
	return func(a, b extsort.Entry) (bool, error) { return read.Alike(a, b, r.cfg.Near.Threshold) }, read.Close, nil
}

// sortKeys puts the keys of a kind in their order: of all documents but those for which without has another one.
func (r *runner) sortKeys(ctx context.Context, kind keyKind, without *dedup.Clusters) (*extsort.Sorter, error) {
	most := r.before(len(r.state.Shards)) // keys
	if kind == bandKeys {
		most *= int64(r.cfg.Near.Bands)
	}
	s := &extsort.Sorter{Dir: r.path(workName), Name: "sort", Limit: r.cfg.SortEntries, Buffer: make([]extsort.Entry, 0, min(most, int64(r.cfg.SortEntries)))}
	add := func(e extsort.Entry) error {
		if _, other := without.KeptInstead(e.Doc); other {
			return nil
		}
		return s.Add(e)
	}
	// documents are numbered through all shards, in their order: the number is what entries know a document by
	base := uint64(0)
	for i, shard := range r.state.Shards {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if err := r.eachKey(i, base, kind, add); err != nil {
			return s, err
		}
		base += uint64(shard.Documents)
	}
	return s, nil
}

// eachMember calls f for sorted keys.
func eachMember(ctx context.Context, keys *extsort.Sorter, f func(extsort.Member) error) error {
	for m, err := range extsort.Members(keys.Sorted()) {
		if err == nil {
			err = f(m)
		}
		if err != nil {
			return fmt.Errorf("curate: %w", err)
		}
	}
	return ctx.Err()
}

// finish sums up.
func (r *runner) finish() (*Result, error) {
	result, all := r.state.Funnel, parted{}
	for _, p := range r.state.Parts {
		all.plus(&p)
	}
	result.Kept, result.Exact, result.Near, result.IDs, result.Cuts = all.Kept, all.Exact, all.Near, all.IDs, all.Cuts
	if r.cfg.Exact {
		result.Searched = append(result.Searched, "exact")
	}
	if r.cfg.Near != nil {
		result.Searched = append(result.Searched, "near")
	}
	result.Clusters, result.Notes = r.clusters, append(slices.Clone(r.cfg.Notes), r.notes...)
	text, err := json.MarshalIndent(result, "", "  ")
	if err == nil {
		err = atomicfile.WriteFile(r.path(resultName), append(text, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("curate: %w", err)
	}
	r.state.Result, r.state.Policy = &result, r.cfg.Policy
	if err := r.save(); err != nil {
		return nil, err
	}
	return &result, r.clear()
}

// clear removes what is only needed on the way. It is last, so that a run stopped before it finds all that it had.
func (r *runner) clear() error {
	if err := os.RemoveAll(r.path(workName)); err != nil {
		return fmt.Errorf("curate: %w", err)
	}
	return nil
}
