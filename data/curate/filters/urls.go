package filters

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
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

// Validate reports the first value that cannot be meant.
func (c URLs) Validate() error {
	switch {
	case c.MaxSoftWords < 0:
		return fmt.Errorf("urls.max_soft_words is %d; it must be at least 0", c.MaxSoftWords)
	case !c.RejectMissing && len(slices.Concat(c.Hosts, c.Pages, c.Words, c.Parts, c.SoftWords)) == 0:
		return errors.New("urls has no list to reject by; name files of urls.hosts, pages, words, parts or soft_words")
	}
	return nil
}

// Step reads the lists and makes the step.
func (c URLs) Step() (document.Step, error) {
	f := &urlFilter{URLs: c}
	err := c.Validate()
	for _, l := range []struct {
		to    *map[string]bool
		paths []string
		clean func(string) (string, error)
	}{{&f.hosts, c.Hosts, listedHost}, {&f.pages, c.Pages, listedPage}, {&f.words, c.Words, listedWord}, {&f.soft, c.SoftWords, listedWord}} {
		entries, e := readLists(l.paths)
		if err == nil {
			err = e
		}
		for i := range entries {
			if entries[i], e = l.clean(entries[i]); err == nil {
				err = e
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
	for _, w := range strings.FieldsFunc(lower, between) {
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

// listedHost is the host that an entry of a list names: that all below it goes, some lists say by a point in front, with a star or without.
func listedHost(entry string) (string, error) {
	// as in the files of systems and of advertisement blockers, "0.0.0.0 a.example" and "||a.example^": of such an entry nothing would ever be found
	if host := hostOf(strings.TrimPrefix(strings.TrimPrefix(entry, "*"), ".")); !strings.ContainsAny(host, " \t|^*") {
		return host, nil
	}
	return "", fmt.Errorf("urls.hosts has the entry %q, which is no name of a host; write one a line", entry)
}

func listedPage(entry string) (string, error) { return pageOf(entry), nil }

// listedWord is an entry that a word between characters that are no letters or digits may equal.
func listedWord(entry string) (string, error) {
	if strings.ContainsFunc(entry, between) {
		return "", fmt.Errorf("urls.words or urls.soft_words has the entry %q, which is no single word of letters and digits; such belong in urls.parts", entry)
	}
	return entry, nil
}

// between reports whether a character stands between words of a URL.
func between(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// hostOf is the host of a URL, or of what stands for one in a list, without port, user and "www.".
func hostOf(text string) string {
	host := afterScheme(text)
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
	return withoutWWW(strings.TrimSuffix(host, "."))
}

// afterScheme is a URL behind its scheme; of one that has none, two slashes may be of its path.
func afterScheme(text string) string {
	scheme, rest, ok := strings.Cut(text, "//")
	if ok && (scheme == "" || strings.HasSuffix(scheme, ":") && !strings.ContainsAny(scheme, "/?#")) {
		return rest
	}
	return text
}

// withoutWWW is a host, and what is behind it, without "www.", but for hosts such as www.com: all of .com is not they.
func withoutWWW(text string) string {
	rest, ok := strings.CutPrefix(text, "www.")
	if end := strings.IndexAny(rest, "./?#"); !ok || end < 0 || rest[end] != '.' {
		return text
	}
	return rest
}

// pageOf is a URL without scheme, "www.", fragment and last slash.
func pageOf(text string) string {
	text, _, _ = strings.Cut(afterScheme(text), "#")
	text = strings.TrimSuffix(withoutWWW(text), "/")
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}
