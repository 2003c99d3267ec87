package modelfiles

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestDivergence by hand: of two tokens with chances of 3/4 and 1/4 from even ones it is log 2 less the entropy.
func TestDivergence(t *testing.T) {
	p, q := []float32{float32(math.Log(3)) + 7, 7, 5, 5}, []float32{1, 1, -2, -2}
	for _, v := range [][]float32{p, q} {
		for row := 0; row < 4; row += 2 {
			logSoftmax(v[row : row+2])
		}
	}
	if math.Abs(float64(p[0])-math.Log(0.75)) > 1e-6 || math.Abs(float64(q[1])-math.Log(0.5)) > 1e-6 {
		t.Errorf("log-probabilities %v and %v", p, q)
	}
	want := (math.Log(2) + 0.75*math.Log(0.75) + 0.25*math.Log(0.25)) / 2 // a mean over rows, of which the second is the same
	if got := divergence(p, q, 2); math.Abs(got-want) > 1e-6 {
		t.Errorf("the divergence is %v, want %v", got, want)
	}
	if got := divergence(q, q, 2); got != 0 {
		t.Errorf("from itself it is %v", got)
	}
	large := []float32{1000, -1000, 0}
	if logSoftmax(large); large[0] != 0 || large[1] != -2000 || large[2] != -1000 {
		t.Errorf("large logits become %v", large)
	}
	ids := probe(10, 5)
	for _, id := range append(ids, probe(3, 1000)...) {
		if id < 0 || id >= 10 {
			t.Errorf("token %d of 10", id)
		}
	}
	if len(ids) != 5 || len(probe(3, 1000)) != 64 {
		t.Errorf("%d tokens", len(ids))
	}
}

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
