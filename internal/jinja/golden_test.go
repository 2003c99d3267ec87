package jinja

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

type golden struct {
	Vars  json.RawMessage
	Cases [][2]*string // template, text; no text: the reference fails
}

func readGolden(t testing.TB) (vars map[string]Value, cases [][2]*string) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	v, err := ParseJSON(g.Vars, 1)
	if err != nil {
		t.Fatal(err)
	}
	vars = map[string]Value{}
	for _, k := range v.Keys() {
		vars[k] = v.Get(k)
	}
	return vars, g.Cases
}

func clock() time.Time { return time.Date(2026, 3, 7, 4, 5, 9, 0, time.UTC) }

// stricter are templates that the reference renders and hone refuses, each with the reason.
var stricter = map[string]string{
	"{{ d.items }}":                   "prints an address",
	"{{ s.strip }}":                   "prints an address",
	"{{ 'a'.join }}":                  "prints an address",
	"{{ xs | reverse }}":              "prints an address",
	"{{ (xs | map('string')) ~ '' }}": "prints an address",
	"{% macro m() %}{% endmacro %}{{ m() is string }}{{ m }}": "functions are not printed",
	"{% raw %}": "the block has no end",
}

// TestGolden compares small templates, one feature each, with the reference implementation.
func TestGolden(t *testing.T) {
	vars, cases := readGolden(t)
	if len(cases) < 500 {
		t.Fatalf("the golden file has only %d cases", len(cases))
	}
	for _, c := range cases {
		p, err := Parse(*c[0])
		var r Result
		if err == nil {
			r, err = p.Render(vars, Options{Now: clock})
		}
		switch got := r.Text.String(); {
		case c[1] == nil && err == nil:
			t.Errorf("%q gives %q; the reference fails", *c[0], got)
		case c[1] != nil && err != nil:
			if stricter[*c[0]] == "" {
				t.Errorf("%q: %v; the reference gives %q", *c[0], err, *c[1])
			}
		case err == nil && got != *c[1]:
			t.Errorf("%q gives %q; the reference %q", *c[0], got, *c[1])
		}
	}
}
