package curate

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate/document"
	"hone/data/curate/extsort"
	"hone/data/curate/words"
)

// Survey is what there is to know about a corpus.
type Survey struct {
	Documents   int64 `json:"documents"`
	Bytes       int64 `json:"bytes"`
	Characters  int64 `json:"characters"`
	Words       int64 `json:"words"` // what white space parts; characters of scripts without spaces
	Lines       int64 `json:"lines"` // not blank
	Tokens      int64 `json:"tokens,omitempty"`
	InvalidUTF8 int64 `json:"invalid_utf8"` // documents

	Duplicates     Count              `json:"duplicates"`      // documents whose text stood before
	DuplicateShare float64            `json:"duplicate_share"` // of the documents
	Lengths        map[string]Lengths `json:"lengths"`         // in bytes, characters, words and, where they are counted, tokens
	Extensions     []Part             `json:"extensions"`      // of the files, the largest first
	Languages      []Part             `json:"languages"`       // of a sample of the documents, all where they are few, as the step of that name tells them; und where it is uncertain
	Scripts        []Part             `json:"scripts"`         // letters by the way of writing; Bytes counts letters
	CommonLines    []CommonLine       `json:"common_lines"`
	LinesMissed    int64              `json:"lines_missed"` // a line that is not listed stands at most this often, and a listed one at most so much more often

	lengths map[string]document.Distribution
	parts   map[string]map[string]Count // extensions, languages and scripts
	common  commonLines
	hashes  []extsort.Entry // of a batch
}

// Lengths are quantiles to three significant digits.
type Lengths struct {
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	P5   float64 `json:"p5"`
	P25  float64 `json:"p25"`
	P50  float64 `json:"p50"`
	P75  float64 `json:"p75"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// Part is a share of the corpus.
type Part struct {
	Name      string  `json:"name"`
	Documents int64   `json:"documents"`
	Bytes     int64   `json:"bytes"`
	Share     float64 `json:"share"` // of Bytes
}

// SurveyConfig says how a corpus is looked at.
type SurveyConfig struct {
	Workers     int                          // goroutines; the result does not depend on it
	Tokens      func() func(text string) int // makes what counts the tokens of a text, one for each goroutine; nil: they are not counted
	CommonLines int                          // that are listed
	SortEntries int                          // hashes in memory, 24 bytes each; 0: 4 million; more go to files in the temporary folder
	Progress    func(documents int64)
}

func newSurvey() *Survey {
	return &Survey{lengths: map[string]document.Distribution{}, parts: map[string]map[string]Count{"extensions": {}, "languages": {}, "scripts": {}}, common: commonLines{}}
}

// Look surveys documents in memory that does not grow with them.
func Look(ctx context.Context, docs iter.Seq2[data.Document, error], cfg SurveyConfig) (*Survey, error) {
	if cfg.SortEntries == 0 {
		cfg.SortEntries = 4 << 20
	}
	dir, err := os.MkdirTemp("", "hone-stats-")
	if err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	defer os.RemoveAll(dir)
	same := &extsort.Sorter{Dir: dir, Name: "hashes", Limit: cfg.SortEntries}
	total := newSurvey()
	work := func() func([]data.Document) *Survey {
		var tokens func(string) int
		if cfg.Tokens != nil {
			tokens = cfg.Tokens()
		}
		return func(docs []data.Document) *Survey {
			s := newSurvey()
			for i, d := range docs {
				s.add(d, tokens)
				if i < languageDocs {
					s.part("languages", surveyLanguage(string(d.Text)), int64(len(d.Text)))
				}
			}
			return s
		}
	}
	err = document.EachBatch(ctx, docs, cfg.Workers, work, func(s *Survey) error {
		for _, e := range s.hashes {
			e.Doc += uint64(total.Documents)
			if err := same.Add(e); err != nil {
				return err
			}
		}
		total.merge(s)
		if cfg.Progress != nil {
			cfg.Progress(total.Documents)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for m, err := range extsort.Members(same.Sorted()) {
		if err != nil {
			return nil, fmt.Errorf("stats: %w", err)
		}
		// Equal hashes of 64 bits and equal lengths: among a billion texts a pair that differs all the same has a chance of 3 %, less by the lengths.
		if m.N > 1 && m.Bytes == m.First.Bytes {
			total.Duplicates.plus(Count{Documents: 1, Bytes: int64(m.Bytes)})
		}
	}
	total.finish(cfg.CommonLines)
	return total, nil
}

func (s *Survey) add(d data.Document, tokens func(string) int) {
	text := string(d.Text)
	s.Documents++
	s.Bytes += int64(len(text))
	if !utf8.ValidString(text) {
		s.InvalidUTF8++
	}
	sizes := map[string]int{"bytes": len(text), "characters": utf8.RuneCountInString(text), "words": words.Count(text)}
	s.Characters += int64(sizes["characters"])
	s.Words += int64(sizes["words"])
	if tokens != nil {
		sizes["tokens"] = tokens(text)
		s.Tokens += int64(sizes["tokens"])
	}
	for unit, n := range sizes {
		if s.lengths[unit] == nil {
			s.lengths[unit] = document.Distribution{}
		}
		s.lengths[unit].Add(float64(n), document.LengthDigits, true)
	}
	s.part("extensions", extension(d.Source), int64(len(text)))
	for script, letters := range words.Scripts(text) {
		s.part("scripts", script, letters)
	}
	s.Lines += s.common.add(text)
	s.hashes = append(s.hashes, extsort.Entry{Key: xxh3.HashString(text), Doc: uint64(s.Documents - 1), Bytes: uint32(len(text))})
}

// languageDocs is in how many documents of each batch the language is looked at, which takes longer than all the rest.
const languageDocs = 16

func surveyLanguage(text string) string {
	code, confidence := words.Language(text, words.LanguageSample)
	if confidence < words.Certain {
		return words.Undetermined
	}
	return code
}

// extension is that of a file's content: .jsonl of a.jsonl.gz.
func extension(path string) string {
	ext := strings.ToLower(filepath.Ext(path))
	if ext == ".gz" || ext == ".zst" {
		ext = strings.ToLower(filepath.Ext(path[:len(path)-len(ext)]))
	}
	if ext == "" {
		return "none"
	}
	return ext
}

func (s *Survey) part(kind, name string, bytes int64) {
	c := s.parts[kind][name]
	c.plus(Count{Documents: 1, Bytes: bytes})
	s.parts[kind][name] = c
}

// merge adds the survey of the documents that follow.
func (s *Survey) merge(o *Survey) {
	s.Documents += o.Documents
	s.Bytes += o.Bytes
	s.Characters += o.Characters
	s.Words += o.Words
	s.Lines += o.Lines
	s.Tokens += o.Tokens
	s.InvalidUTF8 += o.InvalidUTF8
	for unit, d := range o.lengths {
		if s.lengths[unit] == nil {
			s.lengths[unit] = document.Distribution{}
		}
		s.lengths[unit].Merge(d)
	}
	for kind, parts := range o.parts {
		for name, c := range parts {
			sum := s.parts[kind][name]
			sum.plus(c)
			s.parts[kind][name] = sum
		}
	}
	s.LinesMissed += s.common.merge(o.common)
}

func (s *Survey) finish(lines int) {
	if s.Documents > 0 {
		s.DuplicateShare = float64(s.Duplicates.Documents) / float64(s.Documents)
	}
	s.Lengths = map[string]Lengths{}
	for unit, d := range s.lengths {
		total := map[string]int64{"bytes": s.Bytes, "characters": s.Characters, "words": s.Words, "tokens": s.Tokens}[unit]
		s.Lengths[unit] = Lengths{Mean: document.Round(float64(total)/float64(s.Documents), document.LengthDigits), Min: d.Quantile(0), P5: d.Quantile(.05), P25: d.Quantile(.25),
			P50: d.Quantile(.5), P75: d.Quantile(.75), P95: d.Quantile(.95), P99: d.Quantile(.99), Max: d.Quantile(1)}
	}
	s.Extensions, s.Languages, s.Scripts = partsOf(s.parts["extensions"]), partsOf(s.parts["languages"]), partsOf(s.parts["scripts"])
	s.CommonLines = s.common.top(lines, s.LinesMissed)
}

func partsOf(counts map[string]Count) []Part {
	sum := int64(0)
	for _, c := range counts {
		sum += c.Bytes
	}
	out := []Part{}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		c := counts[name]
		out = append(out, Part{name, c.Documents, c.Bytes, document.Share(int(c.Bytes), int(sum))})
	}
	slices.SortStableFunc(out, func(a, b Part) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return out
}
