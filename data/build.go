package data

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/zeebo/xxh3"

	"hone/internal/atomicfile"
)

// Encoder turns documents into token ids. It need not be safe for concurrent use.
type Encoder interface {
	// Encode appends the tokens of d to dst. A *Left error leaves the document out and counts it, any other ends the build.
	// note counts the document under a reason without leaving it out.
	Encode(dst []int32, d Document, note func(Reason)) ([]int32, error)
}

// TextEncoder is an Encoder of plain text.
type TextEncoder struct {
	Tokenizer interface {
		Encode(dst []int32, text []byte) []int32
	}
}

// Encode appends the tokens of the document's text.
func (e TextEncoder) Encode(dst []int32, d Document, _ func(Reason)) ([]int32, error) {
	return e.Tokenizer.Encode(dst, d.Text), nil
}

// Left is the error of an Encoder that leaves a document out.
type Left struct{ Reason Reason }

// Error gives the reason.
func (l *Left) Error() string { return "left out: " + string(l.Reason) }

// BuildConfig says how documents become token stores.
type BuildConfig struct {
	Dir         string         // folder for the shards, made if missing; several stores may share it
	Fingerprint string         // identifies the tokenizer: equal fingerprints must encode equally
	Encoder     func() Encoder // called once per worker
	Vocab       int            // token ids are below it
	Begin, End  []int32        // tokens put before and after each document; usually none and the end-of-text token
	// Validation is the share of documents held out, 0 for none; see DefaultValidationFraction.
	Validation float64
	// Content is what of a document's text decides on which side it is: documents of equal contents are on one. nil: all of it.
	Content func(text []byte) []byte
	// CutSingle lets the end of the text be held out where there is a single document.
	CutSingle bool
	// SourceKey identifies the files and reading options behind the documents (Sources.Key). If a store for the same key was
	// finished before, it is opened without reading the text again. Empty: the text is always read.
	SourceKey  string
	Stats      *Stats         // the reader's counts: completed by Build, and restored when the text is not read; may be nil
	ShardBytes int            // text per shard; 0 means 8 MiB
	Workers    int            // 0 means GOMAXPROCS; the result does not depend on it
	Progress   func(Progress) // called from the calling goroutine now and then; may be nil
}

// Progress tells how far a build is.
type Progress struct {
	Documents int64 // read
	Bytes     int64 // of text read
	Shards    int   // finished
	Reused    int   // of these, found on disk from an earlier run
	Tokens    int64 // in finished shards
}

// Build tokenises documents into a training store and a store of held-out documents, nil if cfg.Validation is 0.
//
// The tokens live in shard files named by a hash of the tokenizer and the text in them, so a build that was interrupted, or
// whose data has grown, goes on from the shards that are there; damaged ones are built again. In memory are, per worker, the text
// and the tokens of one shard.
func Build(ctx context.Context, docs iter.Seq2[Document, error], cfg BuildConfig) (train, held *Store, err error) {
	if err := cfg.complete(); err != nil {
		return nil, nil, err
	}
	leave, err := prepareDir(cfg.Dir)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	m := cfg.readManifest()
	if m != nil {
		if train, held, err = m.open(cfg); err == nil {
			return train, held, nil
		}
	}
	if m, err = build(ctx, docs, &cfg); err != nil {
		return nil, nil, err
	}
	if err := cfg.writeManifest(m); err != nil {
		return nil, nil, err
	}
	return m.open(cfg)
}

func (c *BuildConfig) complete() error {
	if c.Vocab < 1 || c.Vocab > 1<<31-1 {
		return fmt.Errorf("vocabulary size %d is out of range", c.Vocab)
	}
	if !(c.Validation >= 0 && c.Validation < 1) {
		return fmt.Errorf("validation fraction %v must be at least 0 and below 1", c.Validation)
	}
	for _, id := range append(append([]int32{}, c.Begin...), c.End...) {
		if id < 0 || int(id) >= c.Vocab {
			return fmt.Errorf("document mark %d is outside the vocabulary of %d", id, c.Vocab)
		}
	}
	if c.ShardBytes <= 0 {
		c.ShardBytes = 8 << 20
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Stats == nil {
		c.Stats = &Stats{}
	}
	return nil
}

// lockName is the file in a token folder whose lock lets one process at a time build there.
const lockName = "lock"

// prepareDir makes the folder, waits until no other process builds in it, and removes what a crash left. leave lets others build. Where nothing was
// built, it removes the folder, unless that was there before: it may be a link to another disk.
func prepareDir(dir string) (leave func(), err error) {
	unlock, made, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("make and lock the token folder %s: %w", dir, err)
	}
	leave = func() {
		if runtime.GOOS == "windows" {
			unlock() // an open file cannot be removed there, neither this one nor that of one that waits
		}
		defer unlock()
		if entries, err := os.ReadDir(dir); err == nil && (len(entries) == 0 || len(entries) == 1 && entries[0].Name() == lockName) {
			os.Remove(filepath.Join(dir, lockName)) // while it is locked: one that waits sees that it is gone
			if made {
				os.Remove(dir) // fails where another has a lock in it by now
			}
		}
	}
	if _, err := atomicfile.Clean(dir); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// makeDir makes dir and says whether it was not there.
func makeDir(dir string) (made bool, err error) {
	_, err = os.Lstat(dir)
	return errors.Is(err, os.ErrNotExist), os.MkdirAll(dir, 0o755)
}

// identity hashes all that decides which tokens a text becomes; extra narrows it further.
func (c *BuildConfig) identity(extra string) *xxh3.Hasher {
	h := xxh3.New()
	fmt.Fprintf(h, "%d\n%q\n%d\n%d\n%d\n%q\n", shardVersion, c.Fingerprint, c.Vocab, c.Begin, c.End, extra)
	return h
}

// manifest lists a finished build. It is written last.
type manifest struct {
	Train []string `json:"train"`
	Held  []string `json:"held"`
	Stats Stats    `json:"stats"`
}

func (c *BuildConfig) manifestPath() string {
	split := ""
	if c.Content != nil && c.Validation > 0 {
		split = " by content" // stores of an earlier build, which split by the text whatever Content was, are made again
	}
	h := c.identity(fmt.Sprintf("%s %v %d%s", c.SourceKey, c.Validation, c.ShardBytes, split))
	return filepath.Join(c.Dir, sumName(h)+".json")
}

// readManifest returns nil if there is none that can be used; the text is read again then.
func (c *BuildConfig) readManifest() *manifest {
	if c.SourceKey == "" {
		return nil
	}
	b, err := os.ReadFile(c.manifestPath())
	if err != nil {
		return nil
	}
	m := new(manifest)
	if json.Unmarshal(b, m) != nil {
		return nil
	}
	return m
}

func (c *BuildConfig) writeManifest(m *manifest) error {
	if c.SourceKey == "" {
		return nil
	}
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(c.manifestPath(), b)
}

func (m *manifest) open(cfg BuildConfig) (train, held *Store, err error) {
	if train, err = OpenStore(cfg.Dir, m.Train); err != nil {
		return nil, nil, err
	}
	if cfg.Validation > 0 {
		if held, err = OpenStore(cfg.Dir, m.Held); err != nil {
			return nil, nil, errors.Join(err, train.Close())
		}
	}
	*cfg.Stats = m.Stats
	return train, held, nil
}

func sumName(h *xxh3.Hasher) string {
	sum := h.Sum128().Bytes()
	return hex.EncodeToString(sum[:])
}

// job is the text of one shard on its way to becoming a file.
type job struct {
	held  bool
	index int // among the shards of its side
	docs  []Document
	from  []int64 // of each document: how many were read before it
	bytes int
}

// finished is a job's outcome.
type finished struct {
	job    *job
	name   string
	tokens int64
	notes  map[Reason]int
	reused bool
	err    error
	at     int64 // with err: how many documents were read before the one at fault
}

// builder cuts the stream of documents into shards, which workers turn into files. Where a shard ends depends on the
// documents only, so neither the number of workers nor their speed shows in the result.
type builder struct {
	cfg      *BuildConfig
	open     [2]*job // training, held-out
	jobs     chan *job
	results  chan finished
	inFlight int
	names    [2][]string
	progress Progress
	notes    map[Reason]int
	failed   finished // the failure at the first document, of those that were met; err is nil without any
}

func build(ctx context.Context, docs iter.Seq2[Document, error], cfg *BuildConfig) (*manifest, error) {
	b := &builder{cfg: cfg, jobs: make(chan *job), results: make(chan finished), notes: make(map[Reason]int)}
	b.open[1] = &job{held: true}
	b.open[0] = &job{}
	var workers sync.WaitGroup
	for range cfg.Workers {
		workers.Go(func() { (&worker{cfg: cfg}).run(b.jobs, b.results) })
	}
	err := b.read(ctx, docs)
	// Also after a failure all that was read is encoded, so that the first document at fault is the one that is named, whichever a worker met
	// first. What the reader fails at comes after it. Documents that were read to their end are all encoded, whatever ctx has become since then:
	// without the shards still open a manifest would be short of them.
	if err == nil || ctx.Err() == nil {
		b.flush()
	}
	for b.inFlight > 0 { // also after an error: finished shards are kept
		b.take(<-b.results)
	}
	close(b.jobs)
	workers.Wait()
	if b.failed.err != nil && (err == nil || ctx.Err() == nil) { // else the run was stopped
		err = b.failed.err
	}
	if err != nil {
		return nil, err
	}
	for r, n := range b.notes {
		cfg.Stats.skip(r, n)
	}
	if len(b.names[0]) == 0 && len(b.names[1]) > 0 {
		return nil, errors.New("all of the data is held out for validation, and nothing is left to train on; lower validation_fraction, add data, or name validation_data")
	}
	if len(b.names[0]) == 0 {
		return nil, errors.New("the data has no text to train on; name files that hold some in data")
	}
	return &manifest{Train: b.names[0], Held: b.names[1], Stats: *cfg.Stats}, nil
}

// read sends the documents to the workers, to their end or until one fails.
func (b *builder) read(ctx context.Context, docs iter.Seq2[Document, error]) error {
	for d, err := range Split(docs, b.cfg.Validation, b.cfg.CutSingle, b.cfg.Content) {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("tokenise: %w", err)
		}
		side := 0
		if d.Held {
			side = 1
		}
		j := b.open[side]
		j.docs, j.from = append(j.docs, d.Document), append(j.from, b.progress.Documents)
		j.bytes += len(d.Text)
		b.progress.Documents++
		b.progress.Bytes += int64(len(d.Text))
		if j.bytes >= b.cfg.ShardBytes {
			b.send(side)
		}
		if b.failed.err != nil {
			return nil
		}
	}
	return nil
}

// flush sends what is left.
func (b *builder) flush() {
	for side := range b.open {
		if len(b.open[side].docs) > 0 {
			b.send(side)
		}
	}
}

// send hands the open shard to the next free worker, taking results while it waits.
func (b *builder) send(side int) {
	j := b.open[side]
	j.index = len(b.names[side])
	b.names[side] = append(b.names[side], "")
	b.open[side] = &job{held: j.held}
	for {
		select {
		case b.jobs <- j:
			b.inFlight++
			return
		case f := <-b.results:
			b.take(f)
		}
	}
}

// take notes what became of a shard.
func (b *builder) take(f finished) {
	b.inFlight--
	if f.err != nil {
		if b.failed.err == nil || f.at < b.failed.at {
			b.failed = f
		}
		return
	}
	side := 0
	if f.job.held {
		side = 1
	}
	b.names[side][f.job.index] = f.name
	for r, n := range f.notes {
		b.notes[r] += n
	}
	b.progress.Shards++
	b.progress.Tokens += f.tokens
	if f.reused {
		b.progress.Reused++
	}
	if b.cfg.Progress != nil {
		b.cfg.Progress(b.progress)
	}
}

// worker turns jobs into shard files. Its buffers are reused from shard to shard.
type worker struct {
	cfg     *BuildConfig
	encoder Encoder // made when first needed: all shards may be there already
	content shardContent
}

func (w *worker) run(jobs <-chan *job, results chan<- finished) {
	for j := range jobs {
		f, err := w.build(j)
		f.job, f.err = j, err
		j.docs = nil // the text is not needed any more
		results <- f
	}
}

// build makes the job's shard, unless an intact one is there.
func (w *worker) build(j *job) (f finished, err error) {
	f.name, f.at = w.cfg.shardName(j), j.from[0]
	s, err := goodShard(w.cfg.Dir, f.name)
	if err != nil {
		return f, err
	}
	if s != nil {
		f.tokens, f.notes, f.reused = s.tokens, s.notes, true
		return f, s.file.Close()
	}
	if w.encoder == nil {
		w.encoder = w.cfg.Encoder()
	}
	if f.at, err = w.encode(j); err != nil {
		return f, err
	}
	f.tokens, f.notes = int64(len(w.content.ids)), w.content.notes
	return f, w.content.write(w.cfg.Dir, f.name)
}

// shardName hashes the tokenizer and the text, document by document.
func (c *BuildConfig) shardName(j *job) string {
	h := c.identity("")
	var head [9]byte
	for _, d := range j.docs {
		binary.LittleEndian.PutUint64(head[:], uint64(len(d.Text)))
		head[8] = 0
		if d.Continued {
			head[8] = 1
		}
		h.Write(head[:])
		h.Write(d.Text)
	}
	return sumName(h)
}

// encode fills w.content with the job's tokens. at is the number of the document that an error is about, else of the first.
func (w *worker) encode(j *job) (at int64, err error) {
	cfg := w.cfg
	out := &w.content
	*out = shardContent{vocab: cfg.Vocab, ids: out.ids[:0], ends: out.ends[:0]}
	for i, d := range j.docs {
		start := len(out.ids)
		ids, err := w.encoder.Encode(append(out.ids, cfg.Begin...), d, out.note)
		if left := (*Left)(nil); errors.As(err, &left) {
			out.ids = out.ids[:start]
			out.note(left.Reason)
			continue
		}
		if err != nil {
			return j.from[i], fmt.Errorf("%s: %w", d.Place(), err)
		}
		if out.ids = ids; !d.Continued {
			out.ids = append(out.ids, cfg.End...)
		}
		for _, id := range out.ids[start:] {
			if id < 0 || int(id) >= cfg.Vocab {
				return j.from[i], fmt.Errorf("%s: the tokenizer gave id %d, but the vocabulary has %d entries", d.Place(), id, cfg.Vocab)
			}
		}
		if len(out.ids)-start < minDocument {
			out.ids = out.ids[:start]
			out.note(TooShort)
			continue
		}
		out.ends = append(out.ends, int64(len(out.ids)))
		out.textBytes += int64(len(d.Text))
	}
	return j.from[0], nil
}
