package hone

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	docLink     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docHeading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are what the headings of a page can be linked by: in lower case, without punctuation, hyphens for spaces.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, m := range docHeading.FindAllStringSubmatch(page, -1) {
		all[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), ""), " ", "-")] = true
	}
	return all
}

// TestDocLinks: what a page links to is there, the heading too.
func TestDocLinks(t *testing.T) {
	pages := map[string]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && name != "." && name != "docs" && !strings.HasPrefix(name, "docs/") {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if strings.HasSuffix(name, ".md") {
			text, err := os.ReadFile(name)
			pages[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages were found: %v", len(pages), err)
	}
	for name, text := range pages {
		for _, m := range docLink.FindAllStringSubmatch(text, -1) {
			file, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(m[1], "://") {
				continue
			}
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			} else if page, ok := pages[target]; ok && heading != "" && !anchors(page)[heading] {
				t.Errorf("%s links to %s, and %s has no such heading", name, m[1], target)
			}
		}
	}
}
