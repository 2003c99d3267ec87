package filters

import (
	"strings"
	"testing"

	"hone/data/curate/curatetest"
	"hone/data/curate/document"
)

func TestWords(t *testing.T) {
	list := curatetest.ListFile(t, "# a comment", "", "Darn", "red", "red car", "über", "悪い", "that's bad", "οδος", "cafe\u0301")
	step, err := Words{Lists: []string{list}}.Step()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]float64{
		"": 0, "nothing here": 0, "darn": 1, "DARN! darn.": 2, "darning": 0, "undarn": 0, "“darn”": 1,
		"two red cars": 1, "a red car": 1, "reduce": 0, "Über alles": 1, "darüber": 0, "これは悪いです": 1, "that's bad": 1, "that's badly": 0,
		"ΟΔΟΣ": 1, "η οδός, Οδος": 1, "ein Café": 1, "cafe\u0301": 1, "cafe": 0,
	} {
		d := &document.Doc{Text: text}
		rejected := step.Apply(d)
		if got := d.Scores()["words.count"]; got != want || (rejected != "") != (want > 0) {
			t.Errorf("%q has %v listed words and is rejected because of %q, want %v", text, got, rejected, want)
		}
	}
	step, err = Words{Lists: []string{list}, MaxCount: 1, MaxShare: 0.1}.Step()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"darn": "", "darn darn": "listed words", "darn darn " + strings.Repeat("fine ", 30): "", "darn darn " + strings.Repeat("fine ", 3): "listed words",
	} {
		if got := step.Apply(&document.Doc{Text: text}); got != want {
			t.Errorf("%q is rejected because of %q, want %q", text, got, want)
		}
	}
}

func TestURLs(t *testing.T) {
	c := DefaultURLs()
	c.Hosts = []string{curatetest.ListFile(t, "bad.example", "https://www.worse.example/", ".pointed.example", "*.starred.example", "www.com")}
	c.Pages = []string{curatetest.ListFile(t, "https://fine.example/one/bad%20page")}
	c.Words = []string{curatetest.ListFile(t, "casino")}
	c.Parts = []string{curatetest.ListFile(t, "xxx")}
	c.SoftWords = []string{curatetest.ListFile(t, "free", "win", "bonus")}
	step, err := c.Step()
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"":                                          "",
		"https://good.example/a":                    "",
		"https://bad.example":                       "blocked host",
		"http://user@shop.Bad.Example:8080/a?b":     "blocked host",
		"https://notbad.example/":                   "",
		"https://good.example/?from=bad.example":    "",
		"worse.example/x":                           "blocked host",
		"https://fine.example/one/bad%20page/#here": "blocked page",
		"https://fine.example/one":                  "",
		"https://a.example/best-casino.html":        "blocked word",
		"https://a.example/casinos":                 "",
		"https://a.example/mxxxm":                   "blocked part of a word",
		"https://a.example/free-software/free":      "",
		"https://a.example/win/free":                "several soft words",
		"https://[2001:db8::1]/":                    "",
		"https://shop.pointed.example/":             "blocked host",
		"https://starred.example/":                  "blocked host",
		"https://www.com/":                          "blocked host",
		"https://fine.com/":                         "",
		"fine.example/to?u=http://bad.example":      "",
		"fine.example//bad.example/":                "",
	} {
		if got := step.Apply(&document.Doc{URL: url}); got != want {
			t.Errorf("%q is rejected because of %q, want %q", url, got, want)
		}
	}
	c.RejectMissing = true
	if step, err = c.Step(); err != nil || step.Apply(&document.Doc{}) != "no URL" {
		t.Errorf("a document without a URL stays, error %v", err)
	}
}

func TestListsThatCannotBeMeant(t *testing.T) {
	empty := curatetest.ListFile(t, "# nothing")
	for name, make := range map[string]func() error{
		"no list":        func() error { _, err := Words{}.Step(); return err },
		"a missing list": func() error { _, err := Words{Lists: []string{"missing.txt"}}.Step(); return err },
		"an empty list":  func() error { _, err := Words{Lists: []string{empty}}.Step(); return err },
		"an empty hosts": func() error { _, err := URLs{Hosts: []string{empty}}.Step(); return err },
		"a hosts file": func() error {
			_, err := URLs{Hosts: []string{curatetest.ListFile(t, "0.0.0.0 a.example")}}.Step()
			return err
		},
		"a blocker": func() error {
			_, err := URLs{Hosts: []string{curatetest.ListFile(t, "||a.example^")}}.Step()
			return err
		},
		"two words": func() error {
			_, err := URLs{SoftWords: []string{curatetest.ListFile(t, "free-shoes")}}.Step()
			return err
		},
		"a missing part": func() error { _, err := URLs{Parts: []string{"missing.txt"}}.Step(); return err },
		"few soft words": func() error { _, err := URLs{MaxSoftWords: -1}.Step(); return err },
		"a share of 2":   func() error { return Words{MaxShare: 2}.Validate() },
	} {
		if err := make(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
