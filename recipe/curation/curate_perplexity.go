package curation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate/document"
	"hone/device"
	"hone/eval"
	"hone/internal/atomicfile"
	"hone/model"
	"hone/recipe"
	"hone/tokenizer"
)

// Perplexity keeps documents by what a model that this program trained makes of them (Wenzek et al., "CCNet", 2020, section 3.3): bounds on bits per byte, which
// compare between tokenizers, or thirds of a sample: head, what the model expects best, middle and tail.
type Perplexity struct {
	Model          string   `yaml:"model" doc:"folder of the model, such as runs/first/model"`
	DType          string   `yaml:"dtype" doc:"of its weights and activations: f32 or bf16"`
	Tokens         int      `yaml:"tokens" doc:"a document is judged by its first tokens, so many; 0: all"`
	BatchTokens    int      `yaml:"batch_tokens" doc:"tokens that go through the model together"`
	MinBitsPerByte float64  `yaml:"min_bits_per_byte" doc:"a document that the model expects better is rejected, as repeated phrases are; 0: no bound"`
	MaxBitsPerByte float64  `yaml:"max_bits_per_byte" doc:"a document that the model expects worse is rejected; 0: no bound"`
	Keep           []string `yaml:"keep" doc:"of head, middle and tail; empty: all, and no sample is drawn"`
	Head           float64  `yaml:"head" doc:"percentile of the sample at which the head ends"`
	Tail           float64  `yaml:"tail" doc:"percentile at which the tail begins"`
	Reference      []string `yaml:"reference" doc:"files to draw the sample from; empty: the data, which is read once more for that"`
	Sample         int      `yaml:"sample" doc:"documents of the sample, drawn by the hash of their place and text"`
}

// defaultPerplexity has CCNet's thirds.
func defaultPerplexity() Perplexity {
	return Perplexity{DType: "f32", Tokens: 512, BatchTokens: 4096, Head: 100.0 / 3, Tail: 200.0 / 3, Sample: 1000}
}

func (c Perplexity) files() []string { return append([]string{c.Model}, c.Reference...) }

// Validate reports the first value that cannot be meant.
func (c Perplexity) Validate() error {
	if c.Model == "" {
		return errors.New("perplexity.model is not set; name the folder of a model, such as runs/first/model")
	}
	if _, err := device.ParseDType(c.DType); err != nil {
		return fmt.Errorf("perplexity.dtype: %w", err)
	}
	for _, name := range c.Keep {
		if !slices.Contains(parts, name) {
			return fmt.Errorf("perplexity.keep names %q; use head, middle or tail", name)
		}
	}
	switch {
	case c.Tokens < 0 || c.Tokens == 1 || c.BatchTokens < 2 || c.Sample < 3:
		return fmt.Errorf("perplexity.tokens is %d, batch_tokens %d and sample %d; use 0 or at least 2, at least 2, and at least 3", c.Tokens, c.BatchTokens, c.Sample)
	case !(c.MinBitsPerByte >= 0) || !(c.MaxBitsPerByte >= 0) || c.MaxBitsPerByte > 0 && c.MaxBitsPerByte < c.MinBitsPerByte:
		return fmt.Errorf("perplexity.min_bits_per_byte is %v and max_bits_per_byte %v; no document is between them", c.MinBitsPerByte, c.MaxBitsPerByte)
	case !(c.Head > 0 && c.Head <= c.Tail && c.Tail < 100):
		return fmt.Errorf("perplexity.head is %v and perplexity.tail %v; they are percentiles, the head's the smaller", c.Head, c.Tail)
	}
	return nil
}

var parts = []string{"head", "middle", "tail"}

// thresholds are where the parts of a sample meet, in bits per byte; the name of their file in the result's folder is thresholdsName.
type thresholds struct {
	Head   float64 `json:"head_below"`
	Tail   float64 `json:"tail_above"`
	Sample int     `json:"sample"` // documents that were measured
}

const thresholdsName = "perplexity.json"

// part is where a document belongs.
func (t thresholds) part(bits float64) string {
	switch {
	case bits <= t.Head:
		return "head"
	case bits > t.Tail:
		return "tail"
	}
	return "middle"
}

// gauge is the model behind the filter. Workers take turns at it; it uses all cores itself.
type gauge struct {
	Perplexity
	mu     sync.Mutex
	model  eval.Model
	cfg    eval.Config
	limits thresholds
}

// gauge opens the model and finds the thresholds, which are kept in dir. free gives the model back.
func (c Perplexity) gauge(ctx context.Context, env recipe.Env, dir string, sample data.Sources) (g *gauge, free func(), err error) {
	if env.Device == nil {
		return nil, nil, errors.New("perplexity: there is no device to run the model on")
	}
	dtype, err := device.ParseDType(c.DType)
	if err != nil {
		return nil, nil, err
	}
	tok, err := tokenizer.Load(c.Model)
	if err != nil {
		return nil, nil, err
	}
	m, err := model.Open(c.Model, env.Device, dtype)
	if err != nil {
		return nil, nil, err
	}
	length := c.BatchTokens
	if c.Tokens > 0 {
		length = min(length, c.Tokens)
	}
	// A model may have no positions beyond these; longer documents go through it in windows.
	if most := m.Shape().MaxPositions; most > 0 {
		length = min(length, most)
	}
	g = &gauge{Perplexity: c, model: eval.Model{Dev: env.Device, DType: dtype, Model: m, Tokenizer: tok},
		cfg: eval.Config{Length: length, Stride: length, BatchSize: max(1, c.BatchTokens/length), First: c.Tokens}}
	if len(c.Keep) > 0 {
		err = g.findThresholds(ctx, env, dir, sample)
	}
	if err != nil {
		m.Free()
		return nil, nil, err
	}
	return g, m.Free, nil
}

// bytesPerToken bounds the text that is made tokens of when only some tokens are needed, unless it has too few; behind these, where the text is cut, the
// last tokens may be others than those of the whole.
const (
	bytesPerToken = 16
	atTheCut      = 16
)

// beginning is as much of a text as its first tokens need: to encode all of a long document for these would take longer than the model.
func (g *gauge) beginning(text string) string {
	for most := bytesPerToken * g.Tokens; 0 < most && most < len(text); most *= 2 {
		end := most
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		if len(g.model.Tokenizer.Encode(nil, []byte(text[:end]))) >= g.Tokens+atTheCut {
			return text[:end]
		}
	}
	return text
}

// measure gives the bits per byte of texts.
func (g *gauge) measure(ctx context.Context, texts []string) ([]eval.Document, error) {
	list := make([][]byte, len(texts))
	for i, text := range texts {
		list[i] = []byte(g.beginning(text))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return eval.Each(ctx, g.model, list, g.cfg)
}

// step is the filter.
func (g *gauge) step() document.Step {
	return document.Step{Name: "perplexity", Batch: func(ctx context.Context, docs []*document.Doc) ([]string, error) {
		texts := make([]string, len(docs))
		for i, d := range docs {
			texts[i] = d.Text
		}
		scores, err := g.measure(ctx, texts)
		if err != nil {
			return nil, err
		}
		reasons := make([]string, len(docs))
		for i, s := range scores {
			reasons[i] = g.judge(docs[i], s)
		}
		return reasons, nil
	}}
}

// judge is the reason to reject a document, empty to keep it; what it was judged by is noted for the report either way.
func (g *gauge) judge(d *document.Doc, s eval.Document) string {
	if s.Tokens == 0 {
		return "nothing to measure"
	}
	// A document at a threshold must fall on the same side whenever it is judged.
	bits := math.Round(s.BitsPerByte()*1e4) / 1e4 // as it is written, and safe from the rounding of other batches
	d.Score("perplexity.bits_per_byte", bits)
	d.Score("perplexity.perplexity", s.Perplexity())
	if len(g.Keep) > 0 {
		part := g.limits.part(bits)
		d.Label("perplexity.part", part)
		if !slices.Contains(g.Keep, part) {
			return part
		}
	}
	switch {
	case bits < g.MinBitsPerByte:
		return "too predictable"
	case g.MaxBitsPerByte > 0 && bits > g.MaxBitsPerByte:
		return "too surprising"
	}
	return ""
}

// findThresholds reads the thresholds that an earlier run kept, or measures a sample.
func (g *gauge) findThresholds(ctx context.Context, env recipe.Env, dir string, sources data.Sources) error {
	path := filepath.Join(dir, thresholdsName)
	text, err := os.ReadFile(path)
	if err == nil {
		if json.Unmarshal(text, &g.limits) != nil {
			return fmt.Errorf("%s is damaged; remove the folder and start again", path)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	texts, err := drawn(ctx, env, sources, g.Sample)
	if err != nil {
		return err
	}
	var bits []float64
	for batch := range slices.Chunk(texts, 128) {
		scores, err := g.measure(ctx, batch)
		if err != nil {
			return err
		}
		for _, s := range scores {
			if s.Tokens > 0 {
				bits = append(bits, s.BitsPerByte())
			}
		}
		env.Progress("perplexity of a sample", int64(len(bits)), int64(len(texts)))
	}
	if len(bits) < 3 {
		return fmt.Errorf("perplexity: only %d documents can be measured, too few for thirds of them; name a larger reference", len(bits))
	}
	// A quantile of the sample, itself rounded like the documents: one at the threshold must compare equal to it.
	slices.Sort(bits)
	at := func(percentile float64) float64 {
		return math.Round(bits[min(len(bits)-1, int(percentile/100*float64(len(bits))))]*1e4) / 1e4
	}
	g.limits = thresholds{Head: at(g.Head), Tail: at(g.Tail), Sample: len(bits)}
	if text, err = json.MarshalIndent(g.limits, "", "  "); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(text, '\n'))
}

// drawn is n documents, those of the least hashes of place and text, in that order: any part of the data may be among them.
func drawn(ctx context.Context, env recipe.Env, sources data.Sources, n int) ([]string, error) {
	type candidate struct {
		hash uint64
		text string
	}
	var list []candidate
	most, read := uint64(math.MaxUint64), int64(0)
	shrink := func() {
		slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.hash, b.hash) })
		if list = list[:min(len(list), n)]; len(list) == n {
			most = list[n-1].hash
		}
	}
	for d, err := range sources.Documents(&data.Stats{}) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if read++; read%1000 == 0 {
			env.Progress("drawing a sample", read, 0)
		}
		// The n least of independent hashes are a uniform sample, found in one pass, in memory for 2n, whatever the order of the files.
		if hash := xxh3.HashString(d.Place()) ^ xxh3.Hash(d.Text); hash <= most {
			if list = append(list, candidate{hash, string(d.Text)}); len(list) >= 2*n {
				shrink()
			}
		}
	}
	shrink()
	texts := make([]string, len(list))
	for i, c := range list {
		texts[i] = c.text
	}
	return texts, nil
}
