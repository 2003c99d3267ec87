package jinja

import (
	"fmt"
	"strings"
	"testing"
)

// long are texts of n characters, lists and dicts of a fiftieth as many items, and small ones to hold them to.
func long(n int) map[string]Value {
	text := func(s string) Value { return String(strings.Repeat(s, n), 1) }
	d, l := Object(0), make([]Value, n/50)
	for i := range l {
		l[i] = String(fmt.Sprint("k", i), 1)
		d.Set(fmt.Sprint("k", i), Bool(true))
	}
	return map[string]Value{"s": text("a"), "s2": text("a"), "u": text("\u00e9"), "sp": text(" "), "br": text("<"), "n": text("0"), "dots": text("."), "p": text("%%"), "f": text("{{}}"), "f0": text("{0.a}"), "l": List(l...), "d": d}
}

// costly are expressions that go through all of a value of long, one a line.
const costly = `
s ~ ''
s + ''
l + l
l * 2
'%s' % s
'%a' % s
p % ()
s.format()
f.format()
f0.format('')
'{}'.format(s)
'{:1}'.format(s)
'{0:{1}}'.format(1, s) if s | length < 99 else s | list
s | list
u[0]
u[1:]
u[::2]
l[::2]
'x' in s
'x' in l
s2 in [s]
s == s2
s != s2
s < s2
[s] == [s2]
s is eq s2
s is sameas s2
s is lower
s is upper
sp.strip()
sp.lstrip()
sp.rstrip()
'x'.strip(s)
sp | trim
s | trim('x')
s.upper()
s.lower()
s.title()
s.isdigit()
s.isupper()
s.istitle()
u | upper
u | title
s | capitalize
s.find('x')
s.count('x')
s.startswith('x')
s2.startswith((s, s, s))
s.split('x')
s.rsplit('x')
s.split()
s.rsplit()
s.splitlines()
s.partition('x')
s.rpartition('x')
s.replace('x', 'y')
s.replace('a', 'b')
s.replace('', '', 1)
s | replace('x', 'y')
''.join([s])
[s] | join
''.join(l)
l | join
u.ljust(1)
u.rjust(1)
u.center(1)
u.zfill(1)
u | center(1)
s.expandtabs()
s | string | length
u | truncate
s | wordcount
s | indent
s | indent(0, true)
br | e
s | e
s | urlencode
n | int
n | float
s | tojson
l | tojson
d | tojson
l | string
d | string
s | first
s | last
s | reverse
l | reverse
l | list
l | map('upper')
l | map(attribute='x')
l | select
l | select('string')
l | selectattr('x')
l | sort
l | unique
l | max
l | min
l | groupby(1)
l | sum(attribute='x', start=[]) if l | length < 99 else l | list
l | batch(3)
l | slice(3)
d | dictsort
d | items
d | list | sort
d.items()
d.keys()
d.values()
d.copy()
dict(d)
dict(**d)
namespace(**d)
d == d.copy()
{s: 1}
{(s,): 1}
{}[s]
{}.get(s)
d.get((s, 1))
s in d
[s] | unique
[s] | groupby(0)
range(l | length)
strftime_now(s)
l.index('x') if l | length < 99 else l.count('x')
`

// TestWorkIsCounted: what goes through a long text, list or dict counts more steps than what goes through a short one, so that no loop of few steps runs for
// hours. Each is done by one statement that writes nothing.
func TestWorkIsCounted(t *testing.T) {
	const most = 1200
	big, small := long(1<<17), long(50)
	for _, expr := range strings.Split(strings.TrimSpace(costly), "\n") {
		p, err := Parse("{% set x = " + expr + " %}")
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if _, err := p.Render(big, Options{MaxSteps: most, Now: clock}); err == nil || !strings.Contains(err.Error(), "steps") {
			t.Errorf("%s of a long one: %v", expr, err)
		}
		if _, err := p.Render(small, Options{MaxSteps: most, Now: clock}); err != nil && strings.Contains(err.Error(), "steps") {
			t.Errorf("%s of a short one: %v", expr, err)
		}
	}
}

// TestTextsAreBounded: a text of as many bytes as MaxOutput may be made and written, one of a byte more may not.
func TestTextsAreBounded(t *testing.T) {
	vars := map[string]Value{"s": String(strings.Repeat("a", 500), 0), "q": String(strings.Repeat("\"", 500), 0), "l": List(String(strings.Repeat("a", 498), 0), String(strings.Repeat("b", 500), 0))}
	for expr, size := range map[string]int{
		"s ~ s": 1000, "s + s": 1000, "s * 2": 1000, "s.ljust(1000)": 1000, "s.zfill(1000)": 1000, "s | center(1000)": 1000, "s.replace('a', 'bb')": 1000, "s.replace('', '-')": 1001, "', '.join(l)": 1000,
		"l | join(', ')": 1000, "'%s%s' % (s, s)": 1000, "'{}{}'.format(s, s)": 1000, "'{:1000}'.format(s)": 1000, "q | tojson": 1002, "[s, s] | string": 1006, "'\t\t'.expandtabs(500)": 1000,
		"[1, 2] | tojson(indent=400)": 808, "s | reverse ~ s": 1000,
	} {
		for _, source := range []string{"{% set x = " + expr + " %}", "{% set x %}{{ " + expr + " }}{% endset %}", "{{ " + expr + " }}"} {
			p, err := Parse(source)
			if err != nil {
				t.Fatal(err)
			}
			// a bound may be lower than the text where what is made on the way is larger, by half at most
			if _, err := p.Render(vars, Options{MaxOutput: size * 3 / 2}); err != nil {
				t.Errorf("%s: %v", source, err)
			}
			if _, err := p.Render(vars, Options{MaxOutput: size - 1}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("longer than %d bytes", size-1)) {
				t.Errorf("%s below %d bytes: %v", source, size, err)
			}
		}
	}
	p, err := Parse("{{ s }}{{ s }}")
	if err != nil {
		t.Fatal(err)
	}
	for most, ok := range map[int]bool{1000: true, 999: false} {
		if _, err := p.Render(vars, Options{MaxOutput: most}); (err == nil) != ok {
			t.Errorf("1000 bytes of %d: %v", most, err)
		}
	}
}

// TestNestingIsBounded: values, calls and tags nest as deep as the limits say, and no deeper.
func TestNestingIsBounded(t *testing.T) {
	deep := func(start, set, use string) func(n int) string {
		return func(n int) string {
			return fmt.Sprintf("{%% set ns = namespace(x=%s, y=%s) %%}{%% for i in range(%d) %%}{%% set ns.x = %s %%}{%% set ns.y = %s %%}{%% endfor %%}{%% set z = %s %%}",
				start, start, n, set, strings.ReplaceAll(set, "ns.x", "ns.y"), use)
		}
	}
	for name, c := range map[string]struct {
		source func(n int) string
		most   int
	}{
		"a list printed":  {deep("1", "[ns.x]", "ns.x | string"), maxDepth},
		"a tuple printed": {deep("1", "(ns.x,)", "ns.x | string"), maxDepth},
		"a dict printed":  {deep("1", "{'k': ns.x}", "ns.x | string"), maxDepth},
		"a list as JSON":  {deep("1", "[ns.x]", "ns.x | tojson"), maxDepth},
		"a dict as JSON":  {deep("1", "{'k': ns.x}", "ns.x | tojson"), maxDepth},
		"lists compared":  {deep("1", "[ns.x]", "ns.x == ns.y"), maxDepth},
		"dicts compared":  {deep("1", "{'k': ns.x}", "ns.x == ns.y"), maxDepth},
		"keys of keys":    {deep("1", "(ns.x,)", "{ns.x: 1}"), maxKeyDepth},
		"macros": {func(n int) string {
			return fmt.Sprintf("{%% macro m(n) %%}{%% if n > 1 %%}{{ m(n - 1) }}{%% endif %%}{%% endmacro %%}{{ m(%d) }}", n)
		}, maxDepth},
		"loops in loops": {func(n int) string {
			return fmt.Sprintf("{%% for x in [%d] recursive %%}{%% if x %%}{{ loop([x - 1]) }}{%% endif %%}{%% endfor %%}", n)
		}, maxDepth},
		"tags":                  {func(n int) string { return strings.Repeat("{% with %}", n) + strings.Repeat("{% endwith %}", n) }, maxNesting - 1},
		"elifs":                 {func(n int) string { return "{% if 0 %}" + strings.Repeat("{% elif 0 %}", n) + "{% endif %}" }, maxNesting - 4},
		"a chain of filters":    {func(n int) string { return "{{ 1" + strings.Repeat("|string", n) + " }}" }, maxNesting + 1},
		"a chain of subscripts": {func(n int) string { return "{{ x" + strings.Repeat("[0]", n) + " if false }}" }, maxNesting},
		"evaluations":           {func(n int) string { return "{% set x = 1" + strings.Repeat("+1", n) + " %}" }, maxEval - 1},
	} {
		for n, ok := range map[int]bool{c.most: true, c.most + 1: false} {
			if _, err := render(c.source(n), nil); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "deeper than") && !strings.Contains(err.Error(), "longer than") && !strings.Contains(err.Error(), "key of a dict") {
				t.Errorf("%s, %d: %v", name, n, err)
			}
		}
	}
}

// TestOneAfterTheOther: what stands side by side does not nest.
func TestOneAfterTheOther(t *testing.T) {
	for _, source := range []string{"{% if 0 %}{% elif 1 %}{% else %}{% endif %}", "{% with %}{% endwith %}", "{% set (a) = 1 %}", "{% set a %}{% endset %}", "{{ (1) }}", "{{ not -1 }}", "{{ 1 if 1 else 2 }}", "{% macro m() %}{{ 1 }}{% endmacro %}{{ m() }}",
		"{% for x in [1] recursive %}{{ loop([]) if false }}{% endfor %}", "{{ [1] | string }}", "{{ {'a': (1,)} }}", "{{ [[1]] == [[1]] }}"} {
		if _, err := render(strings.Repeat(source, 2*maxNesting), nil); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// TestContexts: what a template writes in the turn of a message is written for it, also by macros and in loops inside of it; what is outside of all turns is for none.
func TestContexts(t *testing.T) {
	message := func(n int32) Value {
		m := Object(n)
		m.Set("content", String(fmt.Sprint("<", n, ">"), n))
		m.Set("parts", List(String("p", n)))
		return m
	}
	vars := map[string]Value{"messages": List(message(1), message(2)), "plain": Object(0)}
	for source, want := range map[string]string{
		"a{% for m in messages %}b{{ m.content }}{% endfor %}c":                                                     "a:0 b:1 <1>:1 b:2 <2>:2 c:0",
		"{% for m in messages %}{% for p in m.parts %}x{% endfor %}{% for p in [plain] %}y{% endfor %}{% endfor %}": "xy:1 xy:2",
		"{% macro say(m) %}[{{ m.content }}]{% endmacro %}{{ say(messages[0]) }}-{{ say(m=messages[1]) }}":          "[:1 <1>:1 ]:1 -:0 [:2 <2>:2 ]:2",
		"{% macro hi() %}hi{% endmacro %}{{ hi() }}{% for m in messages %}{{ hi() }}{% endfor %}":                   "hi:0 hi:1 hi:2",
		"{% with m = messages[1] %}x{% endwith %}y":                                                                 "x:2 y:0",
		"{% for m in messages %}{% with o = messages[0] %}x{% endwith %}y{% endfor %}":                              "xyx:1 y:2",
		"{% set m = messages[0] %}x":                                              "x:0",
		"{% if true %}{% set m = messages[0] %}x{% endif %}y":                     "xy:0",
		"{% for i in [0, 1] %}{% set m = messages[i] %}x{% endfor %}y":            "x:1 x:2 y:0",
		"{% for m in messages %}{% set o = messages[0] %}x{% endfor %}":           "x:1 x:2",
		"{% for m in messages if m.content %}x{% endfor %}y":                      "x:1 x:2 y:0",
		"{% for a, m in [(1, messages[1])] %}x{% endfor %}":                       "x:2",
		"{% set x %}{% for m in messages %}a{% endfor %}b{% endset %}{{ x }}":     "a:1 a:2 b:0",
		"{% for m in messages %}{% set x %}a{% endset %}{{ x }}{% endfor %}":      "a:1 a:2",
		"{% for m in messages %}{% generation %}g{% endgeneration %}{% endfor %}": "g:1 g:2",
	} {
		p, err := Parse(source)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Render(vars, Options{})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		var got []string
		r.Text.Runs(func(i, j int, o Origin) { got = append(got, fmt.Sprintf("%s:%d", r.Text.String()[i:j], o.Context)) })
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s\n gives %s\n want  %s", source, g, want)
		}
	}
}

// TestGenerationSpans: the blocks of the template's own output, wherever they stand in it, and none of those in texts that are set aside.
func TestGenerationSpans(t *testing.T) {
	for source, want := range map[string]string{
		"a{% generation %}bc{% endgeneration %}d{% generation %}e{% endgeneration %}":                                     "bc e",
		"{% set x %}a{% generation %}b{% endgeneration %}{% endset %}{{ x }}{% generation %}c{% endgeneration %}":         "c",
		"{% macro m() %}{% generation %}b{% endgeneration %}{% endmacro %}a{{ m() }}{% generation %}c{% endgeneration %}": "c",
		"{% for x in [1, 2] %}{% generation %}{{ x }}{% endgeneration %}{% break %}{% endfor %}":                          "1",
		"é{% generation %}{% endgeneration %}{% generation %}é{% endgeneration %}":                                        " é",
	} {
		p, err := Parse(source)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Render(nil, Options{})
		var got []string
		for _, s := range r.Generation {
			got = append(got, r.Text.String()[s.Start:s.End])
		}
		if g := strings.Join(got, " "); err != nil || g != want || !p.HasGeneration() {
			t.Errorf("%s generates %q, want %q (%v)", source, g, want, err)
		}
	}
}

// TestLinesOfErrors: an error is in the line of the tag that fails, also behind a body of several lines.
func TestLinesOfErrors(t *testing.T) {
	for _, tag := range []string{"{{ x.y }}", "{% if x.y %}\n{% endif %}", "{% for a in 1 %}\n{% endfor %}", "{% for a, b in [1] %}\n{% endfor %}", "{% for a in [1] if x.y %}\n{% endfor %}", "{% set a = x.y %}",
		"{% set a | nope %}\n\n{{ 1 }}{% endset %}", "{% filter nope %}\n\n{{ 1 }}{% endfilter %}", "{% with a = x.y %}\n{% endwith %}", "{% generation %}{{ x.y }}\n{% endgeneration %}", "{% call x.y() %}\n{% endcall %}", "{% call nope() %}\n{% endcall %}",
		"{% set a.b = 1 %}", "{% set a, b = [1] %}", "{{ m(1, 2, 3) }}", "{{ m(c=1) }}", "{{ m(1) ~ x.y }}"} {
		if _, err := render("{% macro m(a) %}\n{{ a }}{% endmacro %}\n"+tag+"\n{{ 1 }}", nil); err == nil || !strings.HasPrefix(err.Error(), "template line 3: ") {
			t.Errorf("%s: %v", tag, err)
		}
	}
}
