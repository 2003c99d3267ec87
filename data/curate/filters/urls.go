package filters

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"hone/data/curate/document"
)

// URLs rejects documents by where they were found, before anything is read of them (Penedo et al., "RefinedWeb", 2023, appendix G.1).
// Hosts, words and characters are compared in lower case. A document without a URL stays, but for RejectMissing.
type URLs struct {
	Hosts         []string `yaml:"hosts" doc:"files of host names; a host of a list goes with all below it"`
	Pages         []string `yaml:"pages" doc:"files of whole URLs"`
	Words         []string `yaml:"words" doc:"files of words of which one is enough, between characters that are no letters or digits"`
	Parts         []string `yaml:"parts" doc:"files of parts of words of which one is enough, wherever it stands"`
	SoftWords     []string `yaml:"soft_words" doc:"files of words of which several are too many"`
	MaxSoftWords  int      `yaml:"max_soft_words" doc:"so many different ones are still allowed"`
	RejectMissing bool     `yaml:"reject_missing" doc:"a document without a URL is rejected"`
}

// DefaultURLs has no lists; of soft words two are too many, as in datatrove.
func DefaultURLs() URLs { return URLs{MaxSoftWords: 1} }

// urlFilter is URLs with its lists.
type urlFilter struct {
	URLs
	hosts, pages, words, soft map[string]bool
	parts                     *matcher
}

// Step reads the lists and makes the step.
func (c URLs) Step() (document.Step, error) {
	if c.MaxSoftWords < 0 {
		return document.Step{}, fmt.Errorf("urls.max_soft_words is %d; it must be at least 0", c.MaxSoftWords)
	}
	f := &urlFilter{URLs: c}
	var err error
	for _, l := range []struct {
		to    *map[string]bool
		paths []string
		clean func(string) string
	}{{&f.hosts, c.Hosts, hostOf}, {&f.pages, c.Pages, pageOf}, {&f.words, c.Words, nil}, {&f.soft, c.SoftWords, nil}} {
		entries, e := readLists(l.paths)
		if err == nil {
			err = e
		}
		for i := range entries {
			if l.clean != nil {
				entries[i] = l.clean(entries[i])
			}
		}
		*l.to = setOf(entries)
	}
	parts, e := readLists(c.Parts)
	if err == nil {
		err = e
	}
	if err == nil {
		f.parts, err = newMatcher(parts)
	}
	if err != nil {
		return document.Step{}, err
	}
	clear(f.parts.whole) // parts may stand within words
	return document.Step{Name: "urls", Apply: f.apply}, nil
}

func (f *urlFilter) apply(d *document.Doc) string {
	if d.URL == "" {
		if f.RejectMissing {
			return "no URL"
		}
		return ""
	}
	lower := strings.ToLower(d.URL)
	for host := hostOf(lower); host != ""; _, host, _ = strings.Cut(host, ".") {
		if f.hosts[host] {
			return "blocked host"
		}
	}
	if f.pages[pageOf(lower)] {
		return "blocked page"
	}
	if f.parts.count([]byte(lower)) > 0 {
		return "blocked part of a word"
	}
	soft := map[string]bool{}
	for _, w := range strings.FieldsFunc(lower, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if f.words[w] {
			return "blocked word"
		}
		if f.soft[w] {
			soft[w] = true
		}
	}
	d.Score("urls.soft_words", float64(len(soft)))
	if len(soft) > f.MaxSoftWords {
		return "several soft words"
	}
	return ""
}

// hostOf is the host of a URL, or of what stands for one in a list, without port, user and "www.".
func hostOf(text string) string {
	host := text
	if _, rest, ok := strings.Cut(text, "//"); ok {
		host = rest
	}
	if i := strings.IndexAny(host, "/?#"); i >= 0 {
		host = host[:i]
	}
	// The last: a user's name or password may have the sign, unescaped, and what is behind it is where a browser goes.
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	// More colons than one are of an IPv6 address, which lists do not hold: it stays whole.
	if name, port, ok := strings.Cut(host, ":"); ok && strings.IndexByte(port, ':') < 0 {
		host = name
	}
	return strings.TrimPrefix(strings.TrimSuffix(host, "."), "www.")
}

// pageOf is a URL without scheme, "www.", fragment and last slash.
func pageOf(text string) string {
	if _, rest, ok := strings.Cut(text, "//"); ok {
		text = rest
	}
	text, _, _ = strings.Cut(text, "#")
	text = strings.TrimSuffix(strings.TrimPrefix(text, "www."), "/")
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}
