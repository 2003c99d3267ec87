package jinja

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// turns are messages as a conversation has them, every third one a tool's.
func turns(n int) []Value {
	var list []Value
	for i := range n {
		m := Object(int32(i + 1))
		m.Set("role", String([]string{"user", "assistant", "tool"}[i%3], -2))
		m.Set("content", String(fmt.Sprintf("m%d", i), int32(i+1)))
		list = append(list, m)
	}
	return list
}

// sameAsFromTheStart holds the renderings of all prefixes to those of a template that starts anew each time: text, error, and the number of steps
// that is just enough. It returns how many prefixes left something out.
func sameAsFromTheStart(t *testing.T, source string, messages []Value) (resumed int) {
	t.Helper()
	tpl, err := Parse(source)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	vars := func(n int, prompt bool) map[string]Value {
		return map[string]Value{"messages": List(messages[:n]...), "prompt": Bool(prompt), "tools": List(String("x", -1), String("y", -1))}
	}
	opt := Options{Now: clock}
	full, p, err := tpl.RenderPrefixes(vars(len(messages), false), "messages", []string{"prompt"}, opt)
	direct, err2 := tpl.Render(vars(len(messages), false), opt)
	if fmt.Sprint(err) != fmt.Sprint(err2) || full.Text.s != direct.Text.s {
		t.Fatalf("%s: %q (%v) when watched, %q (%v) when not", source, full.Text.s, err, direct.Text.s, err2)
	}
	if err != nil {
		return 0
	}
	for n := range len(messages) {
		for _, prompt := range []bool{false, true} {
			p.opt = opt
			shared, rest, err := p.Render(n, map[string]Value{"prompt": Bool(prompt)})
			want, wantErr := tpl.Render(vars(n, prompt), opt)
			if got := full.Text.s[:shared] + rest; fmt.Sprint(err) != fmt.Sprint(wantErr) || err == nil && got != want.Text.s {
				t.Fatalf("%s\nof %d, prompt %v: %q + %q (%v), from the start %q (%v)", source, n, prompt, full.Text.s[:shared], rest, err, want.Text.s, wantErr)
			}
			if shared > 0 {
				resumed++
			}
			if err != nil || !prompt || n%3 != 2 {
				continue
			}
			lo, hi := 0, 1<<12 // steps that are too few, and enough
			for hi-lo > 1 {
				mid := (lo + hi) / 2
				if _, err := tpl.Render(vars(n, prompt), Options{Now: clock, MaxSteps: mid}); err != nil {
					lo = mid
				} else {
					hi = mid
				}
			}
			for steps, enough := range map[int]bool{lo: false, hi: true} {
				p.opt.MaxSteps = steps
				if _, _, err := p.Render(n, map[string]Value{"prompt": Bool(prompt)}); (err == nil) != enough && steps > 0 {
					t.Fatalf("%s\nof %d, prompt %v: %d steps: %v; from the start %d are enough", source, n, prompt, steps, err, hi)
				}
			}
		}
	}
	return resumed
}

// TestPrefixesByKind: what a template may look at for a rendering of fewer messages to start in the middle, and what it may not.
func TestPrefixesByKind(t *testing.T) {
	const body = "[{{ m.role }}:{{ m.content }}]"
	const end = "{% endfor %}{% if prompt %}>{% endif %}"
	each := func(body string) string { return "^{% for m in messages %}" + body + end }
	for source, resumes := range map[string]bool{
		each(body): true,
		"{% if not prompt is defined %}{% set prompt = false %}{% endif %}" + each(body):                                          true,
		"{% set system = messages[0].content %}{{ system }}" + each(body):                                                         true,
		"{% set turns = messages[1:] if messages[0].role == 'user' else messages %}^{% for m in turns %}" + body + end:            true,
		"^{% for m in (messages[1:] if messages is defined else messages)[1:] %}" + body + end:                                    true,
		"^{% for m in messages if m.role != 'tool' %}{{ loop.index }}" + body + end:                                               true,
		"^{% for m in messages[2:] if m.role != 'tool' %}{{ loop.index }}" + body + end:                                           true,
		each("{{ loop.index }}{{ loop.first }}{{ loop.cycle('a', 'b') }}{{ loop.previtem.role if not loop.first }}" + body):       true,
		each(body + "{% if not loop.last %},{% endif %}"):                                                                         true,
		each(body + "{% if loop.nextitem is defined and loop.nextitem.role == 'tool' %}-{% endif %}"):                             true,
		each(body + "{% if not loop.last and messages[loop.index0 + 1].role == 'tool' %}-{% endif %}"):                            true,
		each("{{ messages[loop.index0 - 1].role if not loop.first }}" + body):                                                     true,
		"^{% for m in messages if m.role != 'tool' %}" + body + "{% if not loop.last %}{{ loop.nextitem.role }}{% endif %}" + end: true,
		"{% set ns = namespace(n=0, s='', none=none) %}" + each("{% set ns.n = ns.n + 1 %}{% set ns.s = ns.s ~ m.role[0] %}{% set ns.x = [m, 1.5, {'a': (ns.s,)}] %}"+body) + "{{ ns.n }}{{ ns.s }}{{ ns.x }}{{ ns.none }}": true,
		"{% macro say(m) %}" + body + "{% endmacro %}" + each("{{ say(m) }}"):                                                        true,
		each("{% for x in tools | reverse %}{{ x }}{% endfor %}" + body):                                                             true,
		each("{% if loop.index0 == 4 %}{{ raise_exception('four') }}{% endif %}" + body):                                             false, // the first rendering ends so
		each(body) + "{% if messages | length == 3 %}{{ raise_exception('three') }}{% endif %}":                                      true,
		each("{% if m.content == 'm5' %}{% break %}{% endif %}" + body):                                                              true,
		each("{% if m.role == 'tool' %}{% continue %}{% endif %}" + body):                                                            true,
		"^{% for m in messages %}{% if m.content != 'm2' %}{{ m.role }}{% continue %}{% endif %}.{% else %}all left" + end:           true,
		each(body) + each("{{ loop.length }}"+body):                                                                                  true,
		"{% set ns = namespace() %}" + each("{% set ns.g = (tools | map('upper')) if loop.first else m.role %}"+body) + "{{ ns.g }}": true,
		"{% for x in tools %}{{ x }}" + each(body) + "{% endfor %}":                                                                  true,

		"{% set g = tools | map('upper') %}" + each("{{ g | first }}"+body):                                                       false,
		"{{ messages | length }}" + each(body):                                                                                    false,
		"{{ messages[-1].role }}" + each(body):                                                                                    false,
		"{{ messages[9].role }}" + each(body):                                                                                     false,
		"{{ messages[:2] | length }}" + each(body):                                                                                false,
		"{{ messages[::2] | length }}" + each(body):                                                                               false,
		"{{ messages[-2:] | length }}" + each(body):                                                                               false,
		"{% if messages %}!{% endif %}" + each(body):                                                                              false,
		"{% set l = [messages] %}{{ l[0] | length }}" + each(body):                                                                false,
		"{% set ns = namespace(l=messages) %}" + each(body) + "{{ ns.l | length }}":                                               false,
		"{% if prompt %}?{% endif %}" + each(body):                                                                                false,
		"{% for x in messages[:2] %}{{ x.content }}{% endfor %}" + each(body):                                                     false,
		"{% for x in messages[-2:] %}{{ x.content }}{% endfor %}" + each(body):                                                    false,
		"{% for x in messages[::2] %}{{ x.content }}{% endfor %}" + each(body):                                                    false,
		each("{% set l = messages[1:] %}" + body):                                                                                 false,
		"{% set l = messages %}{{ l is string }}" + each(body):                                                                    false,
		"^{% for m in messages | list %}" + body + end:                                                                            false,
		"^{% for m in messages if messages | length > 2 %}" + body + end:                                                          false,
		"^{% for m in messages recursive %}" + body + end:                                                                         false,
		"{% set s %}^{% for m in messages %}" + body + "{% endfor %}{% endset %}{{ s | length }}":                                 false,
		each("{{ loop.length }}" + body):                                                                                          false,
		each("{{ loop.revindex }}" + body):                                                                                        false,
		each("{{ loop.revindex0 }}" + body):                                                                                       false,
		each("{{ loop.changed(m.role) }}" + body):                                                                                 false,
		each("{{ prompt }}" + body):                                                                                               false,
		each("{{ messages[1:] | length }}" + body):                                                                                false,
		each("{% for x in messages %}{{ x.role[0] }}{% endfor %}" + body):                                                         false,
		"{% set g = tools | map('upper') %}" + each("{{ g | first }}{{ g | join }}"+body):                                         false,
		"{% set g = tools | map('upper') %}" + each("{{ g | list }}"+body) + "{{ g|list }}":                                       false,
		"{% set ns = namespace() %}" + each("{% macro f() %}{{ m.role }}{% endmacro %}{% set ns.f = f %}"+body) + "{{ ns.f() }}":  false,
		"{% set ns = namespace() %}" + each("{% set ns.g = tools | map('upper') %}"+body) + "{{ ns.g | first }}{{ ns.g | join }}": false,
		"{% set ns = namespace(l=range(17) | list) %}" + each(body):                                                               false,
		"{% set ns = namespace(l=[[[[1]]]]) %}" + each(body):                                                                      false,
	} {
		if resumed := sameAsFromTheStart(t, source, turns(8)); resumed > 0 != resumes {
			t.Errorf("%s: %d prefixes start in the middle, want some: %v", source, resumed, resumes)
		}
	}
}

// TestPrefixesOfRandomTemplates puts templates together from what may and what may not be looked at.
func TestPrefixesOfRandomTemplates(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 72))
	before := []string{"", "", "{{ messages[0].role }}", "{{ messages[2].content }}", "{% set g = tools | map('upper') %}", "{% set l = messages[1:] %}", "{{ prompt is defined }}", "{% set q = messages | length %}"}
	heads := []string{"messages", "messages", "messages[1:]", "messages[3:]", "l", "messages if m.role != 'tool'", "messages[1:] if m.role == 'user'", "messages if ns.n == 0", "messages | reverse"}
	bodies := []string{"{{ m.content }}", "{{ loop.index }}", "{% if loop.last %}${% endif %}", "{% set ns.n = ns.n + 1 %}", "{% set ns.s = m.content %}", "{{ ns.s }}", "{{ loop.nextitem is defined }}", "{{ loop.previtem.role if loop.index0 }}",
		"{{ g | first }}", "{% if m.content == 'm6' %}{% break %}{% endif %}", "{% if m.role == 'tool' %}{% continue %}{% endif %}", "{{ messages[loop.index] is defined }}", "{% if loop.length > 5 %}L{% endif %}",
		"{% for x in tools %}{{ x }}{% endfor %}", "{% set ns.h = tools | select %}", "{{ ns.h | join }}", "{{ messages[loop.index0].content }}"}
	after := []string{"{{ ns.n }}{{ ns.s }}", "{% if prompt %}>{% endif %}", "{{ messages | length }}", "{{ g | join }}", "{{ raise_exception('no') if messages | length == 4 }}", "{% for m in messages %}{{ m.role }}{% endfor %}", "{{ messages[-1].content }}"}
	some := func(from []string, most int) (s string) {
		for range r.IntN(most + 1) {
			s += from[r.IntN(len(from))]
		}
		return s
	}
	resumed := 0
	for range 100 {
		source := "{% set l = messages %}{% set ns = namespace(n=0, s='') %}^" + some(before, 2) + "{% for m in " + heads[r.IntN(len(heads))] + " %}" + some(bodies, 4) + some([]string{"{% else %}none"}, 1) + "{% endfor %}" + some(after, 2)
		if sameAsFromTheStart(t, source, turns(1+r.IntN(8))) > 0 {
			resumed++
		}
	}
	if resumed < 10 {
		t.Errorf("only %d templates were not rendered from their start each time", resumed)
	}
}

// TestPrefixesTakeNoSquare counts the rounds of the loop, by the clock that each asks.
func TestPrefixesTakeNoSquare(t *testing.T) {
	tpl, err := Parse("{% for m in messages if m.role != 'tool' %}{{ strftime_now('') }}{{ m.content }}{% if not loop.last %},{% endif %}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	rounds := 0
	opt := Options{Now: func() time.Time { rounds++; return time.Time{} }}
	_, p, err := tpl.RenderPrefixes(map[string]Value{"messages": List(turns(n)...)}, "messages", nil, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, _, err := p.Render(i, nil); err != nil {
			t.Fatal(err)
		}
	}
	if rounds > 3*n { // one in the first rendering; then one round before the mark at most, whose successor was looked at, and one that is the last
		t.Errorf("%d rounds for %d prefixes", rounds, n)
	}
}

// TestPrefixesAreBounded: what was left out counts as part of the text.
func TestPrefixesAreBounded(t *testing.T) {
	tpl, err := Parse("{% for m in messages %}{{ m.content }}{% endfor %}{% if prompt %}{{ 'x' * 20 }}{% endif %}")
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := tpl.RenderPrefixes(map[string]Value{"messages": List(turns(10)...), "prompt": Bool(false)}, "messages", []string{"prompt"}, Options{MaxOutput: 30})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]bool{5: true, 6: false} { // 2 bytes each
		if shared, _, err := p.Render(n, map[string]Value{"prompt": Bool(true)}); (err == nil) != want || err != nil && !strings.Contains(err.Error(), "longer than 30 bytes") {
			t.Errorf("%d messages, %d bytes of them shared: %v", n, shared, err)
		}
	}
}
