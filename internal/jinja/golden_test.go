package jinja

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// readGolden reads a golden file of testdata/gen into g and returns its variables.
func readGolden(t testing.TB, name string, g any) (vars map[string]Value) {
	data, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vars json.RawMessage }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	return variables(t, file.Vars, 1)
}

// variables are the values of a JSON object, as copies of an input.
func variables(t testing.TB, raw json.RawMessage, source int32) map[string]Value {
	v, err := ParseJSON(raw, source)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]Value{}
	for _, k := range v.Keys() {
		vars[k] = v.Get(k)
	}
	return vars
}

// cases are templates with the reference's texts; no text: the reference fails.
type cases struct{ Cases [][2]*string }

func clock() time.Time { return time.Date(2026, 3, 7, 4, 5, 9, 0, time.UTC) }

func render(source string, vars map[string]Value) (string, error) {
	p, err := Parse(source)
	if err != nil {
		return "", err
	}
	r, err := p.Render(vars, Options{Now: clock})
	return r.Text.String(), err
}

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
	var g cases
	vars := readGolden(t, "golden", &g)
	if len(g.Cases) < 700 {
		t.Fatalf("the golden file has only %d cases", len(g.Cases))
	}
	for _, c := range g.Cases {
		switch got, err := render(*c[0], vars); {
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

// refusals are errors of hone's where the reference gives a text, each with the reason.
var refusals = map[string]string{
	"whole numbers of more than 64 bits": "no conversation computes with them",
	"cannot be printed":                  "functions, generators and slices of ranges print as addresses or not as their items",
	"cannot be sliced":                   "the reference fails at a variable and has an undefined value for a literal, which it folds",
	"a slice needs whole numbers":        "as above",
	"attribute needs a string":           "what is no attribute name is none of any item, which hides a mistake",
	"needs a whole number":               "the reference takes a count that is never reached",
	"is not a real number":               "Python's complex numbers",
	"urlencode works on strings":         "dicts and lists become queries, which no conversation has",
	"cannot be the key of a dict":        "ranges and generators",
	"cannot be compared":                 "views of dicts as sets",
	"int has no sign":                    "no whole number of more than 64 bits",
}

// TestGrid compares values of all kinds with the reference implementation under every operator, filter, test, method and format, and
// templates with white space of all kinds around signed tags.
func TestGrid(t *testing.T) {
	var file struct {
		Grids []struct {
			Template string
			A, B     []string
			Want     [][]any // a text, nil: an error, false: not compared
		}
	}
	vars := readGolden(t, "grid", &file)
	every := 1
	if testing.Short() {
		every = 7
	}
	rendered, refused, n := 0, 0, 0
	for _, g := range file.Grids {
		for i, a := range g.A {
			for j, b := range g.B {
				if n++; n%every != 0 || g.Want[i][j] == false {
					continue
				}
				source := strings.NewReplacer("$a", a, "$b", b).Replace(g.Template)
				want, ok := g.Want[i][j].(string)
				switch got, err := render(source, vars); {
				case !ok && err == nil:
					t.Errorf("%q gives %q; the reference fails", source, got)
				case ok && err == nil && got != want:
					t.Errorf("%q gives %q; the reference %q", source, got, want)
				case ok && err != nil && !isRefusal(err):
					t.Errorf("%q: %v; the reference gives %q", source, err, want)
				case ok && err != nil:
					refused++
				case ok:
					rendered++
				}
			}
		}
	}
	if rendered < 7000/every || refused > 40+rendered/25 {
		t.Errorf("%d texts were equal and %d refused", rendered, refused)
	}
}

func isRefusal(err error) bool {
	for text := range refusals {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// TestOriginsChangeNothing renders with inputs that are numbered and with inputs that are the template's own: the text is the same, and a
// byte that says where it is from is one that the input has.
func TestOriginsChangeNothing(t *testing.T) {
	var g struct {
		cases
		Vars json.RawMessage
	}
	numbered := readGolden(t, "golden", &g)
	plain := variables(t, g.Vars, 0)
	copied := 0
	for _, c := range g.Cases {
		p, err := Parse(*c[0])
		if err != nil {
			continue
		}
		with, err1 := p.Render(numbered, Options{Now: clock})
		without, err2 := p.Render(plain, Options{Now: clock})
		if with.Text.String() != without.Text.String() || (err1 == nil) != (err2 == nil) {
			t.Errorf("%q: %q with origins, %q without (%v, %v)", *c[0], with.Text, without.Text, err1, err2)
		}
		without.Text.Runs(func(i, j int, o Origin) {
			if o.Source != 0 {
				t.Errorf("%q: bytes from input %d, of which there is none", *c[0], o.Source)
			}
		})
		with.Text.Runs(func(i, j int, o Origin) {
			if o.Source == 1 {
				copied += j - i
			}
		})
	}
	if copied < 1000 {
		t.Errorf("only %d bytes are copies", copied)
	}
}
