package filters

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"hone/data"
	"hone/data/curate/document"
	"hone/data/curate/spans"
	"hone/data/curate/words"
)

// Decontaminate takes what an evaluation asks out of training data: documents that share an n-gram of words with a record of it, 13 by default (Brown et
// al., "Language Models are Few-Shot Learners", 2020, appendix C). Words are lower case, letters and digits; in scripts without spaces every
// character with its marks is a word.
type Decontaminate struct {
	Against  []string `yaml:"against" doc:"files of the evaluation: .jsonl, .json, .parquet, .csv, .tsv or text; all strings in a record count"`
	NGram    int      `yaml:"ngram" doc:"words that must stand in a row"`
	MinWords int      `yaml:"min_words" doc:"a record of fewer words than ngram is looked for as a whole if it has at least so many"`
	MaxShare float64  `yaml:"max_share" doc:"a document is still kept if so large a share of its words is in n-grams of the evaluation; 0: none may be"`
	Action   string   `yaml:"action" doc:"reject the document; or cut the n-grams out with what is near them, as for GPT-3"`
	Around   int      `yaml:"around" doc:"cut: bytes in front of and behind an n-gram that go with it, and of the shortest piece that is kept"`
	Pieces   int      `yaml:"pieces" doc:"cut: a document that falls into more pieces is rejected"`
}

// DefaultDecontaminate has GPT-3's values.
func DefaultDecontaminate() Decontaminate {
	return Decontaminate{NGram: 13, MinWords: 8, Action: "reject", Around: 200, Pieces: 10}
}

// Validate reports the first value that cannot be meant.
func (c Decontaminate) Validate() error {
	switch {
	case c.NGram < 1 || c.NGram > 1000 || c.MinWords < 1 || c.MinWords > c.NGram:
		return fmt.Errorf("decontaminate.ngram is %d and decontaminate.min_words %d; use 1 to 1000 words, and no more for short records than for others", c.NGram, c.MinWords)
	case !(c.MaxShare >= 0 && c.MaxShare < 1):
		return fmt.Errorf("decontaminate.max_share is %v; it must be at least 0 and below 1", c.MaxShare)
	case c.Action != "reject" && c.Action != "cut":
		return fmt.Errorf("decontaminate.action is %q; use reject or cut", c.Action)
	case c.Around < 0 || c.Pieces < 1:
		return fmt.Errorf("decontaminate.around is %d and decontaminate.pieces %d; they must be at least 0 and 1", c.Around, c.Pieces)
	}
	return nil
}

// evaluation is the n-grams of an evaluation by their number of words and their hash, with the file that they are from.
type evaluation struct {
	Decontaminate
	grams map[int]map[uint64]uint16
	files []string
	some  []uint64 // bits of hashes, to pass over most n-grams quickly
	short int      // records that are too short to be found
}

const someBits = 1 << 22

// Step reads the evaluation and makes the step; note says what could not be looked for.
func (c Decontaminate) Step() (step document.Step, note string, err error) {
	if len(c.Against) == 0 {
		return document.Step{}, "", errors.New("decontaminate.against is not set; name files of the evaluation")
	}
	e := &evaluation{Decontaminate: c, grams: map[int]map[uint64]uint16{}, some: make([]uint64, someBits/64)}
	records := 0
	for d, err := range (data.Sources{Paths: c.Against, Records: true}).Documents(&data.Stats{}) {
		if err != nil {
			return document.Step{}, "", err
		}
		records++
		if err := e.record(d); err != nil {
			return document.Step{}, "", err
		}
	}
	if records == 0 {
		return document.Step{}, "", errors.New("decontaminate.against has no records, so nothing would be found; name files that have some")
	}
	if e.short > 0 {
		note = fmt.Sprintf("decontaminate: %d of %d records have fewer than %d words in a row and cannot be found", e.short, records, c.MinWords)
	}
	return document.Step{Name: "decontaminate", Apply: e.apply}, note, nil
}

// record takes the n-grams of a record: of each of its strings, or, when all are short, of all of them together.
func (e *evaluation) record(d data.Document) error {
	if n := len(e.files); n == 0 || e.files[n-1] != d.Source {
		if n > 1<<16-1 {
			return fmt.Errorf("decontaminate.against has more than %d files; join them", 1<<16)
		}
		e.files = append(e.files, d.Source)
	}
	texts, err := stringsOf(d.Text)
	if err != nil {
		return fmt.Errorf("decontaminate: %s: %w", d.Place(), err)
	}
	found := false
	for _, text := range texts {
		found = e.text(text) || found
	}
	if !found && !e.text(strings.Join(texts, " ")) {
		e.short++
	}
	return nil
}

// stringsOf are the strings in JSON but for keys, in their order: pages have a short question in front of its answers, as records do.
func stringsOf(record []byte) (out []string, err error) {
	const key, value, element = 'k', 'v', 'e'
	next := []byte{element} // what comes in each list and object that is open
	for dec := json.NewDecoder(bytes.NewReader(record)); ; {
		t, err := dec.Token()
		if err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		top := len(next) - 1
		switch next[top] {
		case key:
			next[top] = value
		case value:
			next[top] = key
		}
		switch text, isText := t.(string); {
		case t == json.Delim('{'):
			next = append(next, key)
		case t == json.Delim('['):
			next = append(next, element)
		case t == json.Delim('}') || t == json.Delim(']'):
			next = next[:top]
		case isText && next[top] != value: // one that was a key made it value
			out = append(out, text)
		}
	}
}

// text takes the n-grams of a text that is long enough.
func (e *evaluation) text(text string) bool {
	list := words.Spans(text, math.MaxInt, nil)
	if len(list) < e.MinWords {
		return false
	}
	n := min(e.NGram, len(list))
	if e.grams[n] == nil {
		e.grams[n] = map[uint64]uint16{}
	}
	words.EachGram(list, n, func(_ int, key uint64) {
		if _, ok := e.grams[n][key]; !ok {
			e.grams[n][key] = uint16(len(e.files) - 1)
		}
		e.some[key%someBits/64] |= 1 << (key % 64)
	})
	return true
}

func (e *evaluation) apply(d *document.Doc) string {
	list := words.Spans(d.Text, math.MaxInt, nil)
	var hits []spans.Mark // in bytes
	covered, count := make(map[int]bool), 0
	file := uint16(0)
	for n, grams := range e.grams {
		words.EachGram(list, n, func(i int, key uint64) {
			// A bit array in front of the map, small enough for a cache: nearly all n-grams of nearly all documents are none of the evaluation's.
			if e.some[key%someBits/64]&(1<<(key%64)) == 0 {
				return
			}
			from, ok := grams[key]
			if !ok {
				return
			}
			if count++; count == 1 || from < file {
				file = from
			}
			hits = append(hits, spans.Mark{At: list[i].At, N: list[i+n-1].End - list[i].At})
			for w := i; w < i+n; w++ {
				covered[w] = true
			}
		})
	}
	of := document.Share(len(covered), len(list))
	d.Score("decontaminate.ngrams", float64(count))
	d.Score("decontaminate.share", of)
	switch {
	case count == 0 || of <= e.MaxShare && e.MaxShare > 0:
		return ""
	case e.Action == "cut" && e.cut(d, hits):
		return ""
	}
	return "overlaps " + filepath.Base(e.files[file])
}

// cut takes spans with what is around them out, and reports whether enough is left to keep.
func (e *evaluation) cut(d *document.Doc, hits []spans.Mark) bool {
	// What is near an answer often tells it; for GPT-3 a window of 200 characters around it went, too.
	for i := range hits {
		from := max(0, hits[i].At-e.Around)
		hits[i] = spans.Mark{At: from, N: min(len(d.Text), hits[i].At+hits[i].N+e.Around) - from}
	}
	slices.SortFunc(hits, func(a, b spans.Mark) int { return a.At - b.At })
	var pieces []string
	keep := func(from, to int) {
		if piece := strings.TrimSpace(words.Whole(d.Text, from, to)); piece != "" && len(piece) >= e.Around {
			pieces = append(pieces, piece)
		}
	}
	end := 0
	for _, m := range spans.Joined(hits) {
		keep(end, m.At)
		end = m.At + m.N
	}
	keep(end, len(d.Text))
	if len(pieces) == 0 || len(pieces) > e.Pieces {
		return false
	}
	d.SetText(strings.Join(pieces, "\n\n"))
	return true
}
