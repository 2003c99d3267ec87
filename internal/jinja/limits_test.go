package jinja

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHostile renders templates that try to run forever, to fill the memory or to overflow the stack. Each must end soon, in one error.
func TestHostile(t *testing.T) {
	double := "{% set ns = namespace(s='ab') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
	loops := func(body string) string {
		return strings.Repeat("{% for a in range(100000) %}", 5) + body + strings.Repeat("{% endfor %}", 5)
	}
	nested := func(set string) string {
		return "{% set ns = namespace(x=1) %}{% for i in range(9000) %}{% set ns.x = " + set + " %}{% endfor %}"
	}
	cases := []struct{ name, template, want string }{
		{"doubling string", double, "than"},
		{"doubling list", strings.NewReplacer("'ab'", "[1]", "~", "+").Replace(double), "steps"},
		{"loops", loops("x"), "steps"},
		{"loops without output", loops("{% set x = 1 %}"), "steps"},
		{"macro calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deeper"},
		{"macros fan out", "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}", "steps"},
		{"caller calls itself", "{% macro m() %}{{ caller() }}{% endmacro %}{% macro k() %}{% call m() %}{{ k() }}{% endcall %}{% endmacro %}{{ k() }}", "deeper"},
		{"recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "deeper"},
		{"repeat", "{{ 'a' * 10000000000 }}", "longer than"},
		{"repeat list", "{{ [0] * 10000000000 }}", "longer than"},
		{"repeat in a loop", "{% for i in range(100000) %}{% set x = 'a' * 16000000 %}{% endfor %}", "steps"},
		{"pad", "{{ 'a'.ljust(10000000000) }}", "longer than"},
		{"zfill", "{{ 'a'.zfill(10000000000) }}", "longer than"},
		{"center", "{{ 'a' | center(10000000000) }}", "longer than"},
		{"printf width", "{{ '%99999999999d' % 1 }}", "above"},
		{"format width", "{{ '{:99999999999}'.format(1) }}", "above"},
		{"printf width from a value", "{{ '%*d' % (99999999999, 1) }}", "above"},
		{"format width from a value", "{{ '{:{w}}'.format(1, w=99999999999) }}", "above"},
		{"zeros in groups", "{{ '{:09999,}'.format(1) ~ 1 / 0 }}", "division"},
		{"fields grow", "{% set x = 'a' * 10000000 %}{{ ('{0}' * 1000).format(x) }}", "than"},
		{"ascii grows", "{% set x = '天' * 5000000 %}{{ '%a' % x }}", "than"},
		{"tabs grow", "{{ ('\t' * 10000000).expandtabs(9999) }}", "than"},
		{"wide tabs", "{{ '\t'.expandtabs(10000000000) }}", "above"},
		{"power", "{{ 9 ** 99999999 }}", "too large"},
		{"endless power", "{{ 1 ** 9999999999 }}", "steps"},
		{"big range", "{{ range(10000000000) | list }}", "more than"},
		{"replace grows", "{% set ns = namespace(s='a' * 1000) %}{% for i in range(99) %}{% set ns.s = ns.s.replace('a', 'aaaa') %}{% endfor %}", "than"},
		{"replace nothing", "{% set ns = namespace(s='a' * 1000) %}{% for i in range(99) %}{% set ns.s = ns.s.replace('', ns.s) %}{% endfor %}", "than"},
		{"join grows", "{% set ns = namespace(s='a' * 1000) %}{% for i in range(99) %}{% set ns.s = ns.s.join(['x', 'y', 'z']) ~ ns.s %}{% endfor %}", "than"},
		{"tojson grows", "{% set ns = namespace(s='\"\"') %}{% for i in range(99) %}{% set ns.s = ns.s | tojson %}{% endfor %}", "than"},
		{"indent grows", "{{ ('\\n' * 1000000) | indent(900) }}", "longer than"},
		{"json indent", "{{ range(90000) | list | tojson(indent=1000) }}", "than"},
		{"deep list printed", nested("[ns.x]") + "{{ ns.x }}", "nest deeper"},
		{"deep list as JSON", nested("[ns.x]") + "{{ ns.x | tojson }}", "nest deeper"},
		{"deep lists compared", nested("[ns.x]") + "{% set a = ns.x %}" + nested("[ns.x]") + "{{ a == ns.x }}", "nest deeper"},
		{"deep tuple as key", nested("(ns.x,)") + "{{ {ns.x: 1} }}", "key"},
		{"namespace in itself", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "nest deeper"},
		{"namespace in its list", "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns.x | tojson }}", "JSON"},
		{"shared lists", "{% set ns = namespace(x=[1]) %}{% for i in range(150) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "than"},
		{"shared lists compared", "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(150) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}", "steps"},
		{"output", "{% for i in range(100000) %}{{ 'a' * 10000 }}{% endfor %}", "than"},
		{"batch fill", "{{ [1] | batch(100000000, 0) | list }}", "batch"},
		{"slice count", "{{ [1] | slice(100000000000) | list }}", "steps"},
		{"sort", "{% for i in range(100000) %}{% set x = range(100000) | sort %}{% endfor %}", "steps"},
		{"in a long list", "{% set l = range(100000) | list %}{% for i in l %}{% set x = -1 in l %}{% endfor %}", "steps"},
		{"find in a long string", "{% set l = 'a' * 9000000 %}{% for i in range(100000) %}{% set x = 'b' in l %}{% endfor %}", "steps"},
		{"slices of a long string", "{% set l = 'é' * 5000000 %}{% for i in range(100000) %}{% set x = l[i] %}{% endfor %}", "steps"},
		{"characters", "{{ ('a' * 60000000) | list }}", "than"},
		{"splits", "{{ ('a,' * 7000000).split(',') | length }}", "steps"},
		{"splits at space", "{{ ('a ' * 7000000).split() | length }}", "steps"},
		{"splits from the right", "{{ ('a ' * 7000000).rsplit() | length }}", "steps"},
		{"lines", "{{ ('a\n' * 7000000).splitlines() | length }}", "steps"},
		{"long lists", "{% for i in range(100) %}{% set x = [0] * 10000000 %}{% endfor %}", "steps"},
		{"loops over nothing", "{% set l = range(100000) | list %}{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}", "steps"},
		{"macro of many parameters", "{% macro m(" + numbered(20_000, "a%d") + ") %}{% endmacro %}{% for i in range(100000) %}{% set x = m() %}{% endfor %}", "steps"},
		{"macro of many names", "{% macro m(" + numbered(10_000, "a%d") + ") %}{% endmacro %}{{ m(" + numbered(10_000, "a%d=1") + ") }}", "steps"},
		{"strip by many characters", "{% set x = 'a' * 9000000 %}{{ x.strip('b' * 9000000 ~ 'a') }}", "steps"},
		{"strftime", "{{ strftime_now('%c' * 30000000) }}", "longer than"},
	}
	for _, c := range cases {
		p, err := Parse(c.template)
		if err != nil {
			t.Errorf("%s: does not parse: %v", c.name, err)
			continue
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var took time.Duration
		const most = 5 * time.Second
		for range 5 { // again where it took long: the machine may have stood still, or much else to do
			start := time.Now()
			_, err = p.Render(nil, Options{MaxSteps: 300_000, MaxOutput: 16 << 20})
			if took = time.Since(start); took < most {
				break
			}
		}
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "\n") > 0 || len(err.Error()) > 300 {
			t.Errorf("%s: got %v, want one line with %q", c.name, err, c.want)
		}
		if took >= most {
			t.Errorf("%s: took %v", c.name, took)
		}
		if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 1<<30 {
			t.Errorf("%s: the heap grew by %d MiB", c.name, grown>>20)
		}
	}
}

// numbered is a list of n words with numbers.
func numbered(n int, format string) string {
	var words []string
	for i := range n {
		words = append(words, fmt.Sprintf(format, i))
	}
	return strings.Join(words, ",")
}

// TestManyNames: names are told apart in time that grows as they do.
func TestManyNames(t *testing.T) {
	for _, source := range []string{"{% macro m(" + numbered(50_000, "a%d") + ") %}{% endmacro %}", "{{ m(" + numbered(50_000, "a%d=1") + ") }}"} {
		var took time.Duration
		const most = 10 * time.Second
		for range 3 { // again where it took long, as above
			start := time.Now()
			if _, err := Parse(source); err != nil {
				t.Errorf("%s: %v", shorten(source), err)
			}
			if took = time.Since(start); took <= most {
				break
			}
		}
		if took > most {
			t.Errorf("%s takes %v", shorten(source), took)
		}
	}
}

// TestDeepSource parses templates that nest deeper than a stack should.
func TestDeepSource(t *testing.T) {
	n := 20000
	for _, c := range []struct{ open, middle, end string }{
		{"(", "1", ")"}, {"[", "1", "]"}, {"{1:", "1", "}"}, {"not ", "1", ""}, {"-", "1", ""}, {"a(", "1", ")"}, {"a[", "1", "]"}, {"1 if 1 else ", "1", ""},
	} {
		if _, err := Parse("{{ " + strings.Repeat(c.open, n) + c.middle + strings.Repeat(c.end, n) + " }}"); err == nil || !strings.Contains(err.Error(), "deeper") {
			t.Errorf("%q: %v", c.open, err)
		}
	}
	for _, link := range []string{".a", "[0]", "()", "|list"} {
		if _, err := Parse("{{ a" + strings.Repeat(link, n) + " }}"); err == nil || !strings.Contains(err.Error(), "longer") {
			t.Errorf("%q: %v", link, err)
		}
	}
	for _, block := range []string{"{% if 1 %}", "{% for x in y %}", "{% set x %}", "{% macro m() %}", "{% if 1 %}{% elif 1 %}"} {
		if _, err := Parse(strings.Repeat(block, n/2)); err == nil {
			t.Errorf("%q parses", block)
		}
	}
	for _, link := range []string{"+1", "~1", " and 1", " or 1", "*1"} { // these parse: the tree is deep, and evaluating it is bounded
		p, err := Parse("{{ 1" + strings.Repeat(link, n) + " }}")
		if err != nil {
			t.Errorf("%q: %v", link, err)
			continue
		}
		if _, err := p.Render(nil, Options{}); err != nil && !strings.Contains(err.Error(), "deeper") {
			t.Errorf("%q: %v", link, err)
		}
	}
}

// TestErrorsNameTheLine checks what a user reads.
func TestErrorsNameTheLine(t *testing.T) {
	for template, want := range map[string]string{
		"a\n\n{{ 1 + }}":                       "template line 3: unexpected }}",
		"a\n{% for x in y %}\n":                "template line 2: the template ends where {% else %} is missing",
		"{#\n\n#}\n{{ x.y.z }}":                "template line 4: 'x' is undefined",
		"\n{{ raise_exception('no\nroles') }}": "the template refuses this conversation: no\nroles",
		"{{ 'x'\n\n + 1 }}":                    "template line 1: str + int is not defined",
		"{% include '/etc/passwd' %}":          `template line 1: the tag "include" is unknown; chat templates have if, for, set, macro, call, filter, with, generation, break, continue and raw`,
		"{{ xs.append(1) }}":                   "template line 1: 'xs' is undefined",
		"{{ [].append(1) }}":                   "template line 1: templates cannot change lists and dicts; build a new one, as in a + [b]",
	} {
		p, err := Parse(template)
		if err == nil {
			_, err = p.Render(nil, Options{})
		}
		if fmt.Sprint(err) != want {
			t.Errorf("%q: got %v, want %s", template, err, want)
		}
	}
}

// TestParseJSONRefuses checks inputs that are no conversation.
func TestParseJSONRefuses(t *testing.T) {
	for _, s := range []string{"", "{", "[1,]", "{} {}", strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "1" + strings.Repeat("0", 2000), `{"a":1`, "[1 2]"} {
		if _, err := ParseJSON([]byte(s), 1); err == nil {
			t.Errorf("%.20q is read", s)
		}
	}
}

// FuzzTemplate parses and renders arbitrary templates: no panic, no endless run, and the runs of the result cover it.
func FuzzTemplate(f *testing.F) {
	var g cases
	vars := readGolden(f, "golden", &g)
	for _, c := range g.Cases {
		f.Add(*c[0])
	}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := Parse(source)
		if err != nil {
			return
		}
		r, err := p.Render(vars, Options{MaxSteps: 20000, MaxOutput: 1 << 20, Now: clock})
		if err != nil {
			return
		}
		end := 0
		r.Text.Runs(func(i, j int, _ Origin) {
			if i != end || j <= i {
				t.Fatalf("run [%d, %d) after %d", i, j, end)
			}
			end = j
		})
		if end != len(r.Text.String()) {
			t.Fatalf("the runs end at %d of %d", end, len(r.Text.String()))
		}
	})
}
