"""Small templates rendered by jinja2 as transformers sets it up, for internal/jinja/testdata/golden.json.

Run:  python jinja.py        Versions: transformers 5.24.0, jinja2 3.1.6.

Each case is [template, text], or [template, null] where the reference fails. The variables are VARS.
"""
import copy, datetime, json, os
import jinja2, transformers
from transformers.utils import chat_template_utils as u

assert (transformers.__version__, jinja2.__version__) == ("5.24.0", "3.1.6")


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 4, 5, 9)


u.datetime = Clock

LONG = "".join(c for c in map(chr, range(0x10000)) if len(c.upper()) > 1 or len(c.title()) > 1)  # letters that get longer in another case
VARS = {
    "s": "Hello, Wörld", "sp": "  two  spaces \n", "empty": "", "n": 7, "neg": -3, "f": 2.5, "big": 12345678901234567890, "yes": True,
    "none_": None, "xs": [3, 1, 2], "names": ["b", "A", "c"], "d": {"b": 1, "a": "x", "items": 5, "nested": {"k": [1, {"z": None}]}},
    "rows": [{"name": "x", "age": 3, "ok": True}, {"name": "y", "age": 1}, {"name": "X", "age": 2, "ok": False}],
    "sigma": "Σ", "long": LONG, "quote": "it's \"q\" \\ \t\x07\x7f\u200b é", "html": "<a href='x'>&\"", "lines": "one\ntwo\r\n\nthree",
}

WHITE = [
    "a\n  {% if true %}\n b\n  {% endif %}\nc\n", "a\n  {%- if true -%}\n b\n  {%- endif -%}\nc", "a  {%+ if true +%}\n b{% endif %}\n\nc",
    "  {# comment #}\nx", "x {#- c -#} y", "  {{ n }}  \n  {{- n -}}  \nz", "{% raw %}{{ x }}{% endraw %}\ny", "a\n  {%- raw -%} {{ }} {%- endraw -%} b",
    "\r\nx\r{{ 'a\r\nb' }}\n\n", "a\n\t {% set x = 1 %}\t\n{{ x }}", "{{ '}}' }}{{ '%}' }}{{ {'a': {'b': 1}} }}", "{%if n%}{{n}}{%endif%}",
    "x{% if true %}   {% endif %}\n   {% if true %}y{% endif %}", "{# a\n b #}\n\n{# c +#}\nd", "a{{ '\\n' }}{% if true %}\n\n  {% endif %}z", "{",
    "{{ 1 }}{ {% set a %}%{% endset %}{{ a }}", "   {% generation %}\n  x\n  {% endgeneration %}\ny", "\u00a0{%- if true %} \u2003{%- endif %}.",
]
VALUES = [
    "1", "1.0", "1e3", "1e16", "1e15", "1.5e-7", "0.0001", "0.00001", "1_000", "0x1F", "0b11", "0o17", "big", "big + 0 if false else big", "-n", "+f", "- -n",
    "none", "True", "[1, 'a', none, true, 2.0]", "(1,)", "()", "(1, 2)", "{'a': 1, 'b': [x]}", "d", "quote", "[quote]", "[sp, s]", "['\\n\\t\\\\']", "[\"it's\"]",
    "'a' 'b'", "'\\x41\\u00e9\\101\\q'", "undefined_", "[undefined_]", "n // 2", "n / 2", "n % 3", "neg % 5", "neg // 2", "-7 % -3", "7.5 % 2", "-7.5 // 2", "2 ** 10",
    "2 ** -1", "2 ** 0.5", "2 ** 3 ** 2", "-2 ** 2", "f * 2", "n * f", "'ab' * 3", "3 * [0]", "[1] + [2]", "(1,) + (2,)", "'a' + 'b'", "'a' ~ 1 ~ none ~ true ~ 1.5",
    "yes + 1", "true == 1", "1 == 1.0", "'1' == 1", "[1, 2] == [1, 2]", "{'a': 1} == {'a': 1.0}", "(1,) == [1]", "undefined_ == undefined2_", "none == undefined_",
    "1 < 2 < 3", "1 < 3 < 2", "'a' < 'b'", "[1, 2] < [1, 3]", "1 in xs", "'b' in d", "'ell' in s", "5 not in xs", "not 1 in xs", "1 if n else 2", "1 if none_", "n and f",
    "none_ or s", "not n", "not not n", "n == 7 and f == 2.5 or false", "(1 if false) is defined", "n is odd and n is not even", "1,2", "n if n > 5 else f if f else s",
    "n + 'a'", "undefined_ + 'a'", "'a' + none", "1 < 'a'", "none < 1", "undefined_.x", "none_.x", "d.missing", "d.missing.x", "d['missing']", "n.x", "n()", "undefined_()",
    "1 / 0", "1 // 0", "f % 0", "[] < 1", "d + d", "{[1]: 2}", "-s", "5 in 5", "1 in s",
    "d.b", "d['a']", "d.items()", "d['items']", "d.items", "d.nested.k[1].z", "d.get('b')", "d.get('q')", "d.get('q', 9)", "d.keys()", "d.values()", "d.keys() | list",
    "xs[0]", "xs[-1]", "xs[5]", "xs[0:2]", "xs[::-1]", "xs[1:]", "xs[:-1]", "xs[::2]", "xs[-5:99]", "s[0]", "s[-1]", "s[99]", "s[1:4]", "s[::-1]", "s[7:]", "s[-3:]",
    "s[:-1:2]", "xs[2:0:-1]", "xs.0", "rows[0].name", "rows.1.age", "xs['a']", "d[0]", "xs[1.0]", "xs[true]", "s.x", "(1, 2)[1]", "range(3)", "range(3)[1]", "range(0, 10, 3) | list",
    "range(5, 0, -2) | list", "range(0)", "xs.append(4)", "d.update({})", "d.pop('a')", "d.copy()", "xs.index(1)", "xs.index(9)", "xs.count(1)", "xs.__class__", "s.__len__()",
    "{'a': 1, **d}", "dict(a=1, b=2)", "dict([('x', 1)])", "dict({'x': 2}, y=3)", "namespace(a=1)", "namespace(a=1).a", "namespace().q", "'%s-%d' % ('a', 5)", "'%5.2f|%-5s|%05d|%x|%%' % (f, 'ab', n, 255)",
    "'%s' % none", "'%s' % [1, 2]", "'%(a)s' % {'a': 1}", "'%r' % 'a'", "'%d' % f", "'%s %s' % 'a'", "'%s' % (1, 2)", "'{} {}'.format(1, 'a')", "'{1}{0}{1}'.format('a', 'b')",
    "'{x:>5}|{y:.2f}|{z:,}|{w:^7}|{w!r}'.format(x='a', y=f, z=1234567, w='m')", "'{{}}'.format()", "'{:05d}{:+d}{:x}'.format(n, n, 255)", "'{:.1%}'.format(0.256)", "'{}'.format()",
    "strftime_now('%Y-%m-%d %H:%M:%S %B %b %A %a %j %y %-d %-m %I %p %e %% %d %b %Y')", "raise_exception('no')", "s is string", "(s | length)", "loop", "True and 'x'", "not undefined_",
    "range(100001) | length", "'a' if", "1 +", "[1, 2", "{'a' 1}", "n |", "n is", "x y", "'abc", "n | nofilter", "n is notest", "(1)", "((1, 2), 3)", "[1, 2,]", "{'a': 1,}", "n(1, a=2, 3)",
    "1.5.x", "1 .x", "'a'.upper()", "'a'[0]", "[1][0]", "{'a': 1}['a']", "{'a': 1}.a", "true is true", "1 is true", "n is none", "true + true", "1e400", "-1e400", "1e400 - 1e400",
]
METHODS = [
    "sp.strip()", "sp.lstrip()", "sp.rstrip()", "'xxaxx'.strip('x')", "'abcba'.strip('ab')", "sp.strip(none)", "'a,b,,c'.split(',')", "sp.split()", "'a b  c d'.split(none, 2)", "' a b c '.split(none, 1)", "'a,b,c'.split(',', 1)",
    "'a,b,c'.rsplit(',', 1)", "'a b c '.rsplit()", "' a b c '.rsplit(none, 1)", "'abc'.split('')", "''.split()", "''.split(',')", "lines.splitlines()", "lines.splitlines(true)", "'a\\n'.splitlines()", "s.upper()", "s.lower()",
    "s.title()", "s.capitalize()", "'hELLO wORLD'.capitalize()", "s.swapcase()", "s.startswith('He')", "s.startswith(('x', 'H'))", "s.endswith('ld')", "s.startswith(1)", "s.replace('l', 'L')", "s.replace('l', 'L', 1)",
    "'ab'.replace('', '-')", "'aaa'.replace('aa', 'b')", "s.find('W')", "s.find('z')", "s.rfind('l')", "s.find('l', 4)", "s.index('z')", "s.count('l')", "','.join(['a', 'b'])", "','.join([1])", "','.join('abc')",
    "s.removeprefix('Hello')", "s.removesuffix('ld')", "'a=b=c'.partition('=')", "'a=b=c'.rpartition('=')", "'abc'.partition('=')", "'abc'.rpartition('=')", "'5'.zfill(3)", "'-5'.zfill(4)", "'a'.ljust(3) + '|'", "'a'.rjust(3, '.')", "'ab'.center(5, '*')",
    "'abc'.center(6, '*')", "'12'.isdigit()", "'1a'.isdigit()", "''.isdigit()", "'abc'.isalpha()", "'a1'.isalnum()", "' '.isspace()", "'AB'.isupper()", "'Ab'.isupper()", "'ab1'.islower()", "'ß'.upper()", "'a'.nope()", "s.strip", "'a'.join",
    "'\\u00a0x\\u2003'.strip()", "'a\\u00a0b'.split()", "'x'.split('x')", "'they\\'re bill\\'s'.title()",
    "('ab' ~ s).title()", "(s ~ 'ab cd').title()", "('x' ~ s).capitalize()", "(s ~ 'ΑΣ').lower()", "('Α' ~ sigma).lower()", "('Α' ~ sigma ~ 'Α').lower()", "sigma.lower()", "'ΑΣ'.capitalize()", "'ΑΣ ΑΣΑ'.title()", "'{:041,}'.format(-1)",
    "'{:09_x}|{:010_x}'.format(n, 1048575)", "'{:<05}|{:>05}|{:^05}|{:*<05}|{:=05}'.format(n, n, f, f, -1)", "'{:>05}|{:<05}'.format('a', 'b')", "'{:,n}'.format(n)", "long.upper()", "long.lower()", "long.swapcase()", "long.casefold()", "(long | join(' ')).title()",
    "'Α\\u0387Σ Α\\u05F4Σ Α\\uFF07Σ Α\\u055FΣ Α-Σ'.lower()", "'\\u13A0\\uAB70\\u13F8'.casefold()",
]
FILTERS = [
    "'10x5' | int(7, 16)", "'0x_1f' | int(7, 16)", "'-0x1F' | int(7, 16)", "'1__0' | int(7)", "'_1' | int(7)", "'1_0' | int(7)", "'+-1' | int(7)", "'ΑΣ αΣ-σΣ' | title", "('a' ~ s) | title", "('Α' ~ sigma) | capitalize",
    "s | upper", "s | lower", "s | title", "'foo-bar (baz) they\\'re' | title", "s | capitalize", "sp | trim", "'xax' | trim('x')", "n | string", "none | string", "xs | length", "s | length", "d | length", "n | length", "undefined_ | length", "xs | count",
    "xs | first", "xs | last", "[] | first", "s | first", "d | first", "xs | join", "xs | join(', ')", "rows | join('-', attribute='name')", "xs | sort", "xs | sort(reverse=true)", "names | sort", "names | sort(case_sensitive=true)",
    "rows | sort(attribute='age') | map(attribute='name') | join", "rows | sort(attribute='name,age') | map(attribute='age') | join", "xs | reverse | list", "s | reverse", "xs | reverse", "xs | sum", "rows | sum(attribute='age')", "[] | sum", "xs | sum(start=10)",
    "xs | max", "xs | min", "names | max", "rows | max(attribute='age')", "[] | max", "[1, 1.0, 'a', 'A', 'b'] | unique | list", "names | map('upper') | list", "rows | map(attribute='ok') | list", "rows | map(attribute='ok', default='?') | list", "rows | map(attribute='name') | map('replace', 'x', 'z') | list",
    "rows | selectattr('ok') | list | length", "rows | selectattr('name', 'equalto', 'x') | map(attribute='age') | list", "rows | selectattr('ok', 'defined') | list | length", "rows | rejectattr('ok') | map(attribute='name') | list", "xs | select('odd') | list", "xs | reject('gt', 1) | list",
    "xs | select | list", "xs | selectattr('a') | list", "none_ | selectattr('a') | list", "none_ | map('upper') | list", "rows | groupby('name') | map('first') | list", "rows | groupby('ok', default='q') | length", "rows | groupby('age') | map(attribute='grouper') | list", "[1, 2, 3, 4, 5] | batch(2) | list", "[1, 2, 3] | batch(2, 0) | list", "[1, 2, 3, 4, 5] | slice(3) | list", "[1, 2, 3, 4] | slice(3, 'x') | list",
    "undefined_ | default('x')", "none | default('x')", "none | default('x', true)", "'' | d('x', boolean=true)", "undefined_ | default", "'3' | int", "'3.7' | int", "'x' | int", "'x' | int(9)", "'1f' | int(base=16)", "'0x1f' | int(0, 16)", "3.9 | int", "-3.9 | int", "true | int", "none | int", "xs | int(5)", "' 12 ' | int",
    "'3.5' | float", "'x' | float", "3 | float", "none | float(1.5)", "'1e3' | float", "'inf' | float", "-5 | abs", "neg | abs", "-2.5 | abs", "42.55 | round", "42.55 | round(1)", "2.5 | round", "3.5 | round", "2.675 | round(2)", "42.55 | round(1, 'floor')", "42.1 | round(0, 'ceil')", "7 | round", "12345 | round(-2)", "1234.5 | round(-2)",
    "s | replace('l', 'L')", "s | replace('l', 'L', 1)", "n | replace(7, 8)", "d | dictsort", "{'b': 1, 'A': 3, 'c': 2} | dictsort", "{'b': 1, 'A': 3, 'c': 2} | dictsort(true)", "{'b': 1, 'A': 3, 'c': 2} | dictsort(by='value', reverse=true)", "d | items | list", "undefined_ | items | list", "xs | items | list", "s | list", "d | list",
    "lines | indent", "lines | indent(2, true)", "lines | indent(2, blank=true)", "lines | indent('> ')", "'a\\n' | indent", "'' | indent(first=true)", "s | center(20)", "s | wordcount", "'a b_c d-e' | wordcount", "'foo bar baz qux' | truncate(9)", "'foo bar baz qux' | truncate(9, true)", "'foo bar baz qux' | truncate(11)", "'foo bar baz qux' | truncate(11, false, '...', 0)",
    "html | e", "html | escape", "html | safe", "html | safe + '<'", "'<' + html | safe", "html | e | e", "s | urlencode", "'a/b c&d' | urlencode", "'%s!' | format('a')", "'%(x)s' | format(x=1)", "d | attr('items') is callable", "d | attr('a')", "xs | map('string') | join('+')", "xs | random_",
    "s | default('x') | upper | length", "n | abs | string + '!'", "(xs | map('string')) ~ ''", "xs | list is sequence", "xs | select('odd') | length", "xs | map('string') | first", "1 if xs | select('gt', 9) else 2", "1 if xs | select('gt', 9) | list else 2", "xs | select('gt', 1) | last",
]
TOJSON = [
    "d | tojson", "quote | tojson", "quote | tojson(ensure_ascii=true)", "'🙂é' | tojson(true)", "d | tojson(indent=2)", "d | tojson(indent='\\t')", "[] | tojson(indent=2)", "{} | tojson(indent=2)", "[[], {}] | tojson(indent=1)", "d | tojson(separators=(',', ':'))", "d | tojson(sort_keys=true)", "d | tojson(indent=0)",
    "[1, 1.0, 1e20, 1.5e-7, none, true, (1, 2)] | tojson", "{1: 2, none: 3, true: 4, 1.5: 5} | tojson", "undefined_ | tojson", "range(3) | tojson", "xs | map('string') | tojson", "d.items() | tojson", "html | tojson", "1e400 | tojson", "big | tojson", "namespace(a=1) | tojson", "d | tojson(indent=2, sort_keys=true)",
]
TESTS = [f"{v} is {t}" for v in ["n", "f", "s", "xs", "d", "none_", "yes", "undefined_", "(1, 2)", "range(2)", "d.items()", "big"] for t in
         ["defined", "undefined", "none", "boolean", "integer", "float", "number", "string", "mapping", "iterable", "sequence", "callable", "true", "false"]]
TESTS += ["n is divisibleby 7", "n is divisibleby(2)", "n is eq 7", "n is gt 5", "n is in xs", "3 is in xs", "n is sameas n", "none is sameas none", "'a' is lower", "'A' is upper", "'1' is lower", "s is equalto 'x'", "n is odd", "n is even", "s is odd", "n is not none",
          "'upper' is filter", "'nope' is filter", "'odd' is test", "n is ne(7)", "n is lt 8 and n is ge 7", "namespace is callable", "s.upper is callable", "n is defined and n is string or true", "n is string is string"]
STATEMENTS = [
    "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }};{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for x in xs if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}", "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}e{% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}", "{% for x in xs %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}", "{% for x in xs %}{% for y in xs %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for x in n %}{% endfor %}", "{% for x in none_ %}{% endfor %}", "{% for x in undefined_ %}{% else %}u{% endfor %}", "{% for c in 'héy' %}[{{ c }}]{% endfor %}",
    "{% for x in [[1, [2]], [3]] recursive %}({% if x is iterable %}{{ loop(x) }}{% else %}{{ x }}{{ loop.depth }}{% endif %}){% endfor %}", "{% set x = 1 %}{% for i in xs %}{{ x }}{% set x = i %}{{ x }} {% endfor %}{{ x }}", "{% set ns = namespace(x=0) %}{% for i in xs %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }} {{ ns }}",
    "{% if true %}{% set y = 5 %}{% endif %}{{ y }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set x = 1, %}{{ x }}", "{% set x %}a{{ n }}b{% endset %}[{{ x }}]", "{% set x | upper | trim %} ab {% endset %}[{{ x }}]", "{% set d.x = 1 %}", "{% set undefined_.x = 1 %}", "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}", "{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}",
    "{% macro m(a, b=2, c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m(b=1, a=2) }}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(q=2) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}body{{ n }}{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}+{{ b }}{% endcall %}", "{% macro m() %}{{ x }}{% endmacro %}{% set x = 5 %}{{ m() }}", "{% macro m(x) %}{% set x = x + 1 %}{{ x }}{% endmacro %}{{ m(1) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% macro m() %}x{% endmacro %}{{ m() | upper }}{{ m.name }}", "{% macro m() %} {% endmacro %}{{ m() | length }}", "{% macro m() %}{% endmacro %}{{ m() is string }}{{ m }}",
    "{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}", "{% if n > 10 %}a{% elif n > 5 %}b{% elif n %}c{% else %}d{% endif %}", "{% if undefined_ %}a{% else %}b{% endif %}", "{% if xs %}{% endif %}x", "{% generation %}a{{ n }}{% set q = 1 %}{% endgeneration %}{{ q }}",
    "{% for x in xs %}{{ x }}{% endfor %}{{ x }}{{ loop }}", "{% set loop_ = xs %}{% for x in loop_ %}{% set ns2 = namespace(a=x) %}{{ ns2.a }}{% endfor %}", "{% for x in range(3) %}{{ x }}{% endfor %}", "{% for i in range(2) %}{% for j in range(2) %}{{ i }}{{ j }} {% endfor %}{% endfor %}", "{% for k, v in d | dictsort %}{{ k }}{% endfor %}",
    "{% break %}", "{% if %}{% endif %}", "{% for %}{% endfor %}", "{% endif %}", "{% if n %}", "{% unknown %}", "{{ n", "{% set x %}", "{# x", "{% raw %}", "{% for x in xs %}{% else %}{% else %}{% endfor %}", "{{ }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ n }}}", "{% set x = caller %}{{ x }}",
    "{% set f = s.upper %}{{ f() }}", "{% set g = d.get %}{{ g('b') }}", "{% for x in xs | sort | reverse %}{{ x }}{{ loop.last }}{% endfor %}", "{% for x in xs %}{% set ns3 = namespace(v=[]) %}{% set ns3.v = ns3.v + [x] %}{{ ns3.v }}{% endfor %}", "{{ xs | map('string') | list | tojson }}{{- '' -}}\n\n",
    "{% set x = xs[:2] + ['q'] %}{{ x }}{{ xs }}", "{% for message in rows %}{{ message['name'] }}{{ message.ok }}{{ 'ok' in message }}{{ message.get('ok') is none }}{% endfor %}", "{% set t = 'a' if n is defined and n else 'b' %}{{ t }}", "{{- n -}}\n {{- n -}}\n", "{% set ns = namespace(d={}) %}{% set ns.d = dict(ns.d, a=1) %}{{ ns.d }}",
    "{% for x in xs %}{% for y in xs %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}",
]


def render(template):
    try:
        return u._compile_jinja_template(template).render(**copy.deepcopy(VARS))  # some filters change their input
    except Exception:
        return None


OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../internal/jinja/testdata/")

if __name__ == "__main__":
    cases = [[t, render(t)] for t in WHITE + ["{{ " + e + " }}" for e in VALUES + METHODS + FILTERS + TOJSON + TESTS] + STATEMENTS]
    with open(OUT + "golden.json", "w") as f:
        f.write('{"vars": ' + json.dumps(VARS) + ',\n"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
    print(len(cases), "cases,", sum(c[1] is None for c in cases), "of them errors")
