package jinja

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestOriginsAreKept: whatever a template does to an input, what comes out of it is from that input still. Otherwise a message could spell a special token that
// counts as the template's own.
func TestOriginsAreKept(t *testing.T) {
	const mark = "<|#|>" // no letters, so that no change of case touches it
	message := Object(1)
	message.Set("content", String(mark, 1))
	message.Set("lines", String(" "+mark+"\n\t"+mark+" "+mark+"\r\n", 1))
	message.Set("list", List(String(mark, 1), String("b"+mark, 1), String(mark+"a", 1)))
	inner := Object(1)
	inner.Set(mark, String(mark, 1))
	message.Set("dict", inner)
	vars := map[string]Value{"m": message, "all": List(message, message)}
	for _, expr := range strings.Split(strings.TrimSpace(`
m.content
m['content']
m.content ~ 'x' ~ m.content
m.content + m.content
m.content * 3
m.content[0:] ~ m.content[:5]
m.content[0] ~ m.content[1] ~ m.content[2] ~ m.content[3] ~ m.content[4]
m.content[::-1][::-1]
m.content | upper
m.content | lower
m.content | title
m.content | capitalize
m.content | trim
m.lines | trim
m.lines.strip()
m.lines.lstrip()
m.lines.rstrip()
m.content.upper().lower().title().swapcase().casefold().capitalize()
m.content | replace('x', 'y')
m.content.replace('#', '#')[:0] ~ m.content
'ab'.replace('a', m.content)
m.content.replace('', '')
m.content.removeprefix('x').removesuffix('x')
m.lines.split() | join(',')
m.lines.split('\n') | join
m.lines.rsplit() | join(m.content)
m.lines.splitlines() | join('|')
m.lines.partition('\n') | join
m.lines.rpartition('\n') | join
m.content.join(['a', 'b'])
', '.join(m.list)
m.list | join(', ')
m.list | sort | join
m.list | unique | join
m.list | reverse | join
m.list | map('upper') | join
m.list | map('replace', 'q', 'r') | join
m.list | select('string') | join
m.list | first ~ m.list | last
m.list | batch(2) | map('join') | join
m.list | slice(2) | map('join') | join
m.list | list
m.list | tojson
m.dict | tojson
m.dict | tojson(indent=2)
m | tojson
m.dict | dictsort
m.dict.items() | list
m.dict.keys() | list | join ~ m.dict.values() | list | join
m.dict | string
m.list | string
m.list
m.dict
m
m.content.ljust(9) ~ m.content.rjust(9) ~ m.content.center(9) ~ m.content.zfill(9)
m.content | center(11)
m.content | indent(2)
m.lines | indent(2, true)
m.lines | wordwrap(3)
m.content | default('x')
m.nothing | default(m.content)
m.content | string
m.content | safe
'%s and %r' % (m.content, m.content)
'%(a)s' % {'a': m.content}
m.content ~ '%s' | format(m.content)
'{} {0!r:>12}'.format(m.content) if false else '{} {:>12}'.format(m.content, m.content)
'{a}'.format(a=m.content)
'{0[content]}{0.content}'.format(m)
m.content.format()
m.lines.expandtabs(2)
m.content | truncate(5)
m.list | sum(start='') if false else m.content
(m.content, m.content) | join
[m.content, [m.content]] | string
{'k': m.content}.k
all | map(attribute='content') | join
all | selectattr('content') | map(attribute='content') | join
(all | groupby('content'))[0].grouper
(all | groupby('content'))[0].list | map(attribute='content') | join
m.content if m.content else ''
m.content or 'x'
namespace(x=m.content).x
dict(a=m.content).a
[m.content] | map('trim') | first
m.content | trim | trim('x') | string
`), "\n") {
		for _, source := range []string{"{{ " + expr + " }}", "{% set x = " + expr + " %}{{ x }}", "{% set x %}{{ " + expr + " }}{% endset %}{{ x }}", "{% macro f(v) %}[{{ v }}]{% endmacro %}{{ f(" + expr + ") }}",
			"{% filter trim %}a{{ " + expr + " }}b{% endfilter %}", "{% for v in [1] %}{{ " + expr + " }}{% endfor %}", "{% with v = (" + expr + ") %}{{ v }}{% endwith %}"} {
			p, err := Parse(source)
			if err != nil {
				t.Errorf("%s: %v", source, err)
				continue
			}
			r, err := p.Render(vars, Options{Now: clock})
			if err != nil {
				if !strings.Contains(err.Error(), "filter") && !strings.Contains(err.Error(), "format") { // the reference has no such filter either
					t.Errorf("%s: %v", source, err)
				}
				continue
			}
			text := r.Text.String()
			if !strings.Contains(text, mark) && !strings.Contains(expr, "wordwrap") {
				t.Errorf("%s gives %q, without what was put in", source, text)
			}
			from := make([]int32, len(text))
			r.Text.Runs(func(i, j int, o Origin) {
				for k := i; k < j; k++ {
					from[k] = o.Source
				}
			})
			for at := 0; ; {
				i := strings.Index(text[at:], mark)
				if i < 0 {
					break
				}
				for k := at + i; k < at+i+len(mark); k++ {
					if from[k] != 1 {
						t.Errorf("%s gives %q, whose byte %d is said to be from %d", source, text, k, from[k])
						break
					}
				}
				at += i + len(mark)
			}
		}
	}
}

// TestTextsEqualTheDefinition: joining, slicing and mapping of texts with origins is that of their bytes, each with its origin.
func TestTextsEqualTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	type colored struct {
		b byte
		o Origin
	}
	spread := func(t Text) (all []colored) {
		t.Runs(func(i, j int, o Origin) {
			for k := i; k < j; k++ {
				all = append(all, colored{t.s[k], o})
			}
		})
		return all
	}
	for range 3000 {
		var parts []Text
		var want []colored
		for range r.IntN(6) {
			p := NewText(strings.Repeat("ab", r.IntN(3)), int32(r.IntN(3)))
			parts, want = append(parts, p), append(want, spread(p)...)
		}
		joined := concat(parts...)
		if got := spread(joined); fmt.Sprint(got) != fmt.Sprint(want) || joined.s != string(bytesOf(len(want), func(i int) byte { return want[i].b })) {
			t.Fatalf("%v joined are %v, want %v", parts, got, want)
		}
		i := r.IntN(len(joined.s) + 1)
		j := i + r.IntN(len(joined.s)-i+1)
		if got := spread(joined.slice(i, j)); fmt.Sprint(got) != fmt.Sprint(want[i:j]) {
			t.Fatalf("bytes %d to %d of %v are %v, want %v", i, j, joined, got, want[i:j])
		}
		end := 0
		joined.Runs(func(a, b int, _ Origin) {
			if a != end || b <= a {
				t.Fatalf("a run from %d to %d behind %d", a, b, end)
			}
			end = b
		})
		doubled := joined.mapRunes(func(_ string, _ int, r rune) string { return string(r) + string(r) })
		var twice []colored
		for _, c := range want {
			twice = append(twice, c, c)
		}
		if got := spread(doubled); fmt.Sprint(got) != fmt.Sprint(twice) {
			t.Fatalf("%v doubled is %v", joined, got)
		}
	}
}

func bytesOf(n int, at func(int) byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = at(i)
	}
	return b
}

// TestSlicesEqualPythons: every slice of a short list and of a text, by the definition of Python's reference ("Sequence Types", notes 3 to 5).
func TestSlicesEqualPythons(t *testing.T) {
	const n = 4
	clamp := func(i, lo, hi int) int {
		if i < 0 {
			i += n
		}
		return min(max(i, lo), hi)
	}
	for lo := -6; lo <= 6; lo++ {
		for hi := -6; hi <= 6; hi++ {
			for step := -3; step <= 3; step++ {
				if step == 0 {
					continue
				}
				for missing := range 4 { // of the bounds
					b := sliceBounds{lo, hi, step, missing&1 == 0, missing&2 == 0}
					from, to := 0, n
					if step < 0 {
						from, to = n-1, -1
					}
					if b.hasLo {
						from = clamp(lo, 0, n)
						if step < 0 {
							from = clamp(lo, -1, n-1)
						}
					}
					if b.hasHi {
						to = clamp(hi, 0, n)
						if step < 0 {
							to = clamp(hi, -1, n-1)
						}
					}
					var want []int
					for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
						want = append(want, i)
					}
					idx := b.indices(n)
					var got []int
					for k := range idx.count {
						got = append(got, idx.start+k*step)
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("%+v of %d takes %v, want %v", b, n, got, want)
					}
				}
			}
		}
	}
}

// TestKeysAreEqualAsInPython: numbers of one value are one key, whatever their type, and no text, tuple or None is taken for another.
func TestKeysAreEqualAsInPython(t *testing.T) {
	groups := [][]any{
		{int64(1), true, 1.0}, {int64(0), false, 0.0}, {nil}, {Text{s: "1"}}, {Text{s: ""}}, {Text{s: "text 1"}}, {1.5}, {tupleOf(int64(1)), tupleOf(true)}, {tupleOf(Text{s: "1"})},
		{tupleOf(int64(1), int64(2))}, {tupleOf(tupleOf(int64(1)), int64(2))}, {tupleOf()}, {tupleOf(Text{s: "a"}, Text{s: "b"})}, {tupleOf(Text{s: "a,b"})}, {tupleOf(Text{s: "text1:a,"})}, {tupleOf(nil)},
	}
	d := newDict()
	for i, g := range groups {
		for _, key := range g {
			d.set(key, int64(i))
		}
	}
	if len(d.keys) != len(groups) {
		t.Fatalf("%d keys of %d groups", len(d.keys), len(groups))
	}
	for i, g := range groups {
		for _, key := range g {
			if v, ok := d.get(key); !ok || v != int64(i) {
				t.Errorf("%v is of group %v, want %d", key, v, i)
			}
		}
	}
	for _, none := range []any{listOf(nil), newDict(), tupleOf(listOf(nil)), &namespace{newDict()}} {
		if d.set(none, nil) {
			t.Errorf("%s is a key", typeName(none))
		}
	}
}
