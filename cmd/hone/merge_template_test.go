package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTemplatesGoAlong: a merged model has the first template there is, with the one for tools beside it and not that of another folder.
func TestTemplatesGoAlong(t *testing.T) {
	put := func(dir, name, text string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const name, tools = "chat_template.jinja", "additional_chat_templates/tool_use.jinja"
	none, plain, both := t.TempDir(), t.TempDir(), t.TempDir()
	put(plain, name, "plain")
	put(both, name, "both")
	put(both, tools, "tools")
	for i, c := range []struct {
		from        []string
		plain, tool string
	}{{[]string{none}, "", ""}, {[]string{none, both}, "both", "tools"}, {[]string{plain, both}, "plain", ""}, {[]string{both, plain}, "both", "tools"}} {
		out := t.TempDir()
		if err := copyTemplate(out, c.from...); err != nil {
			t.Fatal(err)
		}
		a, _ := os.ReadFile(filepath.Join(out, name))
		b, _ := os.ReadFile(filepath.Join(out, filepath.FromSlash(tools)))
		if string(a) != c.plain || string(b) != c.tool {
			t.Errorf("case %d: %q and %q, want %q and %q", i, a, b, c.plain, c.tool)
		}
	}
}
