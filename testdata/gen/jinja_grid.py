"""Grids of expressions, and random white space, rendered by jinja2 as transformers sets it up, for internal/jinja/testdata/grid.json.

Run:  python jinja_grid.py        Versions: those of jinja.py, whose variables these templates read, too.

A grid is a template with $a and $b, values of both, and a table of texts: a row for each $a, a column for each $b; null where the reference
fails, false where its text has an address in it or depends on the interpreter. What the reference answers by accident is left out.
"""
import json, random, re
from jinja import OUT, VARS, render

VALUES = ["undefined_", "none", "true", "0", "-3", "7", "2.5", "1e20", "big", "''", "'Ab c'", "' x '", "'12'", "'é天'", "[]", "[3, 1, 2]", "['b', 'A', 'c']", "(1, 2)", "{}", "{'b': 1, 'a': 2}", "rows",
          "range(3)", "namespace(a=1)", "(xs | map('string'))", "d.items()", "[[1, 2], [3]]", "'a\\nb\\r\\nc'", "s.upper", "range"]
FILTERS = ["abs", "attr('a')", "batch(2) | list", "batch(2, 'f') | list", "capitalize", "center(7)", "default('D')", "default('D', true)", "dictsort", "dictsort(false, 'value')", "dictsort(reverse=true)", "e", "first", "float(9)",
           "format(1)", "format('x', 'y')", "groupby(0)", "groupby('name')", "indent(2, true, true)", "int(9)", "int(default=5, base=16)", "items | list", "join('-')", "join('-', attribute='name')", "join(attribute=0)", "last", "length",
           "list", "lower", "map('upper') | list", "map(attribute='name', default='Z') | list", "map('int') | list", "max", "min", "max(attribute='age')", "min(case_sensitive=true)", "reject('odd') | list", "reject('none') | list",
           "rejectattr('ok', 'defined') | list", "replace('a', 'b', 1)", "replace('', '.')", "reverse | list", "reverse", "round", "round(1)", "round(-1)", "round(1, 'ceil')", "round(method='floor')", "safe", "select('string') | list",
           "select('gt', 1) | list", "selectattr('name', 'eq', 'x') | list", "slice(2) | list", "slice(2, 'f') | list", "sort", "sort(true)", "sort(reverse=true, case_sensitive=true)", "sort(attribute='age')", "sort(attribute=0)",
           "string", "sum", "sum(start=10)", "sum(attribute='age')", "title", "tojson", "tojson(indent=1)", "trim", "trim('a ')", "truncate(3)", "truncate(5, true, '', 0)", "unique | list", "unique(attribute='name') | list", "upper", "wordcount"]
TESTS = ["boolean", "callable", "defined", "divisibleby 2", "divisibleby 0", "eq 1", "even", "odd", "false", "float", "ge 1", "gt 'a'", "in [1, 'a', none]", "in 'abc'", "integer", "iterable", "le 1", "lower", "lt 2", "mapping",
         "ne none", "none", "number", "sequence", "string", "true", "undefined", "upper"]
AFTER = [".x", ".a", "['a']", "[0]", "[-1]", "[5]", "[true]", "[none]", "[1.0]", "['0']", "[0:1] | list", "[::-1] | list", "[1:] | list", "[:-1] | list", "[-2:] | list", "[none:1] | list", "[5:1:-2] | list", "()", "(1)", ".items()", ".keys() | list",
         ".get('a')", ".get('q', 1)", ".copy()", ".upper()", ".count('a')", ".count(1)", ".index('b')", ".append(1)", ".pop()", ".update({})", "._x", "['__class__']", ".b.c", ".0", "[(1,2)]"]
AROUND = ["-$a", "+$a", "not $a", "$a if $a else 'no'", "[$a]", "($a,)", "{'k': $a}", "{$a: 1}.keys() | list", "'%s' % $a", "'%r|%5s|%-5s|' % ($a, $a, $a)", "'%d' % $a", "'%.2f' % $a", "'%x' % $a", "'{}|{!r}|{!s}'.format($a, $a, $a)",
          "'{:>6}'.format($a)", "'{:06.1f}'.format($a)", "'{:,}'.format($a)", "'{0.a}'.format($a)", "range($a) | list", "dict($a)", "namespace($a)", "raise_exception($a)", "'a,b'.split($a)", "'-'.join($a)", "'abc'.startswith($a)",
          "'aXa'.replace('X', $a)", "'aXa'.strip($a)", "'abc'.find($a)", "'abc'.center($a)", "'abc'[$a]", "xs[$a]", "d[$a]", "d.get($a)", "xs.count($a)", "xs.index($a)", "xs | join($a)", "xs | map($a) | list", "xs | sum(start=$a)",
          "'abc' | indent($a)", "undefined_ | default($a)", "$a ~ '|' ~ $a"]
OPERANDS = ["undefined_", "none", "true", "0", "-3", "7", "2.5", "-0.5", "big", "'a'", "'12%s'", "[]", "[1]", "(1, 2)", "{'a': 2}", "rows", "range(3)", "(xs | map('string'))", "range"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or"]
LOOPS = ["{% for x in $a %}{{ x }},{% else %}E{% endfor %}", "{% for x, y in $a %}{{ x }}:{{ y }},{% else %}E{% endfor %}", "{% if $a %}T{% else %}F{% endif %}", "{% set a, b = $a %}{{ a }}", "{% set ns = namespace() %}{% set ns.v = $a %}{{ ns.v }}"]
STRINGS = ["''", "'abc'", "'aBc dEf'", "' a  b '", "'a1b2'", "'١٢'", "'½'", "'²'", "'ß'", "'ǆx'", "'ﬁ'", "'İI'", "'Σας ΑΣ'", "'a\\tb\\nc'", "'\\u2028x\\x1cy'", "'e\\u0301'", "'👍🏽'", "'it\\'s they\\'re'", "'-5'", "'aaa'", "'a,b,,c,'", "'ªº'", "'\\xa0a\\u3000'", "'ŉ'", "'ᾳ'", "'一'"]
METHODS = ["capitalize()", "casefold()", "center(7, '*')", "count('')", "count('a', 1)", "count('a', 0, 2)", "endswith(('c', ''))", "endswith('b', 0, 2)", "expandtabs()", "expandtabs(4)", "find('b')", "find('', 2)", "find('a', -2)", "rfind('a', 0, -1)", "index('a')",
           "isalnum()", "isalpha()", "isascii()", "isdecimal()", "isdigit()", "isidentifier()", "islower()", "isnumeric()", "isprintable()", "isspace()", "istitle()", "isupper()", "join(['x', 'y', 'z'])", "ljust(5)", "rjust(5, '0')", "lower()", "lstrip('a ')",
           "partition(',')", "rpartition('a')", "removeprefix('a')", "removesuffix('c')", "replace('a', '', 1)", "replace('', '-', 2)", "rsplit()", "rsplit(',', 1)", "rsplit(none, 1)", "rsplit(maxsplit=1)", "split()", "split(',', 1)", "split(none, 1)", "split(sep=',')",
           "split(none, 0)", "rsplit(none, 0)", "splitlines()", "splitlines(keepends=true)", "startswith('b', 1)", "startswith(('x', 'a'))", "strip()", "strip('')", "swapcase()", "title()", "upper()", "zfill(5)", "format()", "__len__()", "nope()", "strip(1)", "join(5)", "upper(1)"]
STRING_FILTERS = ["wordcount", "urlencode", "length", "reverse", "tojson", "tojson(ensure_ascii=true)", "e", "list", "int", "float", "center(9)", "unique | list", "truncate(4, leeway=0)"]
NUMBERS = ["0", "-1", "255", "1234567", "big", "true", "0.0", "-0.0", "1.5", "-2.5", "1e16", "1e-5", "123456.789", "1e100", "2.675", "'a'", "'abc'", "none", "[1]"]
PRINTF = ["%d", "%5d", "%-5d|", "%05d", "%+d", "% d", "%x", "%X", "%#x", "%o", "%#o", "%f", "%.0f", "%10.3f", "%e", "%.2e", "%E", "%g", "%G", "%.3g", "%#g", "%s", "%r", "%a", "%5s", "%05s", "%-5s|", "%.2s", "%c", "%%", "%i", "%ld", "%*d", "%", "%q", "%.d", "%.3d", "%08.2f", "%+.1e"]
SPECS = ["d", "5", "<5", "^5", "=5", "*^7", "05", "+", "-", " ", "#x", "X", "o", "b", "#b", "c", "e", ".2e", "E", ".0f", ".1f", "08.2f", "g", ".3g", "G", "n", "%", ".1%", ",", ",.2f", "_", "_x", "s", ".2", ".2s", "<10s", "+06.1f", "q", "é>4", "{<4", "0>4", "5.1", "010,"]
FIELDS = ["{} {}", "{1} {0}", "{a}", "{a} {}", "{0}{}", "{}{0}", "{{}}", "{", "}", "{}}", "{a.b}", "{0.x}", "{0[0]}", "{b[0]}", "{c[k]}", "{c.k}", "{0!r}", "{0!s:>4}", "{0!a}", "{0!q}", "{:{w}}", "{0:>{w}}", "{:}", "{2}", "{-1}", "{ 0}", "{a!r:>6}", "{:{}}", "{a.}", "{b[}", "{:{:{}}}"]
ODDITIES = ["1.", ".5", "1E-3", "1_0", "1__0", "0x", "00", "01", "1.e3", "9223372036854775807", "9223372036854775808", "3 * 4 ** 2", "1 - 1 - 1", "7 // 2 * 2", "7 % 4 % 2", "1 + 2 ~ 3", "2 * 3 ~ 4", "not 1 == 2", "1 < 2 == true", "1 in [1] in [[1]]", "1 if 0 else 2 if 0 else 3",
            "- 1 | abs", "-n | abs", "1 + 2 | string", "'a' ~ 'b' | upper", "n is odd | string", "not n is odd", "n is divisibleby 2 or 1", "n is eq 3 + 4", "[1, 2] | first + 1", "-xs | first", "xs.0.1", "d.nested['k'].1.z", "{1: 2}[1.0]", "{true: 2}[1]", "{(1, 2): 3}[(1, 2)]",
            "{'a': 1, 'a': 2}", "{1: 1, 1.0: 2, true: 3}", "'\\u12'", "'\\xZZ'", "'\\777'", "'\\8'", "'a\\\nb'", "n if not n is defined", "'x' if", "xs[1,2]", "n..a", "n|", "n||upper", "n is not", "n not", "n = 1", "n ? 1 : 2", "n & 1", "~n", "n!", "n!=1", "n<>1", "[x for x in xs]", "range(*[1, 4]) | list",
            "dict(**{'a': 1})", "dict(a=1, a=2)", "dict([1])", "dict([(1, 2, 3)])", "namespace([('a', 1)]).a", "range()", "range(0, 5, 0)", "range(2.0)", "caller()", "varargs", "TRUE", "'%s' % true", "'%s%s' % [1, 2]", "'%(a)s' % d", "'%(zz)s' % d", "7 % -0.5", "0 ** -1", "0 ** -0.5", "2.5 is even", "true | round", "{range: 1}[range]"]
CHARACTERS = [*range(0x21), *range(0x7F, 0xC0), 0xDF, 0x130, 0x131, 0x149, 0x1C5, 0x1C6, 0x1F0, 0x250, 0x345, 0x37A, 0x3C2, 0x587, 0x660, 0x1680, 0x180E, 0x1E9E, 0x1F88, 0x1FB3, 0x2000, 0x200B, 0x2028, 0x2029, 0x202F, 0x2060, 0x2070, 0x2160, 0x2170, 0x2460, 0x24B6, 0x24D0, 0x3000, 0x3007,
              0x4E00, 0xE000, 0xFB03, 0xFEFF, 0xFF21, 0xFF41, 0xFFFF, 0x10400, 0x10428, 0x1D400, 0x1D7E2, 0x1F130, 0x20000, 0xE0001]
ASKED = "{{ [$a] }}|{{ $a.upper() }}|{{ $a.lower() }}|{{ $a.title() }}|{{ $a.swapcase() }}|" + "".join("{{ $a.%s() | int }}" % m for m in ["isalpha", "isdigit", "isdecimal", "isnumeric", "isalnum", "isspace", "isupper", "islower", "isprintable"]) + "{{ $a.strip() | length }}{{ ('a' ~ $a ~ 'b').splitlines() | length }}{{ $a | wordcount }}{{ $a | tojson(ensure_ascii=true) }}"
SCOPES = """{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}
{% set x = 1 %}{% with x = 2 %}{{ x }}{% set x = 3 %}{{ x }}{% endwith %}{{ x }}
{% set x = 1 %}{% macro m() %}{{ x }}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}
{% macro m() %}{{ x }}{% endmacro %}{% for x in [1] %}{{ m() }}{% endfor %}
{% for x in [1] %}{% macro m() %}{% endmacro %}{% endfor %}{{ m is defined }}
{% if true %}{% macro m() %}a{% endmacro %}{% endif %}{{ m() }}
{% macro m(a, b='d') %}{{ a }}{{ b }}{% endmacro %}{{ m() }}|{{ m(*[1, 2]) }}|{{ m(**{'a': 1}) }}
{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}{{ m(none) }}
{% macro m(a=x) %}{{ a }}{% endmacro %}{% set x = 3 %}{{ m() }}
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}{% call m() %}x{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}
{% macro m(x) %}{{ caller(x) }}{% endmacro %}{% call(y, z=2) m(5) %}{{ y }}{{ z }}{% endcall %}
{% macro m() %}{{ caller(1) }}{% endmacro %}{% call m() %}y{% endcall %}
{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
{% macro m() %}<b>{% endmacro %}{{ m() ~ '&' }}{{ m() + '&' }}{{ m() | e }}{{ [m()] }}{{ {m(): 1}['<b>'] }}{{ m() | tojson }}
{% macro m(a, a) %}{% endmacro %}
{% macro m() %}{% break %}{% endmacro %}
{% set ns = namespace() %}{{ ns.x is defined }}{% set ns.x = 1 %}{{ ns.x }}
{% set ns = namespace(x=0) %}{% macro m() %}{% set ns.x = ns.x + 1 %}{% endmacro %}{{ m() }}{{ m() }}{{ ns.x }}
{% set ns = namespace(a=1) %}{{ 'a' in ns }}
{% set ns = namespace(a=1) %}{{ ns.items() }}
{% set (a, b), c = [[1, 2], 3] %}{{ a }}{{ b }}{{ c }}
{% set a['b'] = 1 %}
{% set x = 5 if false %}{{ x is defined }}
{% for i in range(5) if i is odd %}{{ loop.index }}{{ loop.last }}{{ i }}|{% endfor %}
{% for i in [] %}x{% else %}{{ loop is defined }}{% endfor %}
{% for i in range(3) %}{% for j in range(3) %}{% if j > i %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}
{% for i in xs %}{% set outer = loop %}{% for j in xs %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
{% for x in xs if x is odd else [] %}{{ x }}{% endfor %}
{% for x in (xs | map('string')) %}{{ loop.last }}{{ loop.length }}{% endfor %}
{% for x in xs %}{{ loop(xs) }}{% endfor %}
{% for loop in xs %}{% endfor %}
{% for x in xs %}{% set loop = 5 %}{% endfor %}
{% set loop = 1 %}{{ loop }}
{% if n %}a{% else %}b{% elif n %}c{% endif %}
{% with a=1, b=a %}{{ b }}{% endwith %}
{% generation %}{% generation %}a{% endgeneration %}b{% endgeneration %}
{% set x = 0 %}{% generation %}{{ x }}{% set x = 1 %}{{ x }}{% endgeneration %}{{ x }}
{% macro m() %}{% generation %}g{% endgeneration %}{% endmacro %}{{ m() }}
{% for i in xs %}{% generation %}{% if i == 1 %}{% break %}{% endif %}{% endgeneration %}{{ i }}{% endfor %}
{% for i in xs %}{% set q %}{% if i == 1 %}{% continue %}{% endif %}a{% endset %}{{ q }}!{% endfor %}
{% for i in xs %}{% filter upper %}{% if i == 1 %}{% continue %}{% endif %}a{% endfilter %}!{% endfor %}
{% for i in xs %}{% with %}{% if i == 1 %}{% break %}{% endif %}{% endwith %}{{ i }}{% endfor %}
{% for j in [1, 2] %}{% for i in [] %}x{% else %}{% break %}{% endfor %}{{ j }}{% endfor %}
{% for i in xs %}x{% else %}{% break %}{% endfor %}
{% raw %}{% raw %}{% endraw %}
{# {# #} #}
{#--#} x
{{{'a': 1}}}
{%-if n-%}x{%-endif-%}
{{+n}}
{% if n -%}\n  x\n{%- endif +%}
{{ raise_exception() }}
{% if false %}{{ 1 / 0 }}{{ nofunction() }}{% endif %}ok
{% if false %}{{ 'a' | nofilter }}{% endif %}ok
{% set range = 5 %}{{ range }}
{% macro d() %}x{% endmacro %}{{ d() }}
{% for i in [1, 2] %}{% set n = n + 1 %}{{ n }}{% endfor %}{{ n }}
{% for i in [1, 2] %}{{ y }}{% set y = i %}{% endfor %}
{% call n %}{% endcall %}
{% macro m() %}a{% endmacro m %}
{{ n x }}
{{ n; }}""".split("\n")


def spaced(r, depth):
    """A random template full of white space and signs."""
    text = lambda: "".join(r.choice(["a", "b c", "\n", "\n", "\n\n", " ", "  ", "\t", "\r\n", "\u00a0", "\x0b", "é"]) for _ in range(r.randrange(4)))
    tag = lambda body: "{%" + r.choice(["", "", "-", "+"]) + " " + body + " " + r.choice(["", "", "-", "+"]) + "%}"

    def block():
        inner = lambda: spaced(r, depth - 1)
        return r.choice([lambda: tag("if n") + inner() + tag("endif"), lambda: tag("for x in xs") + inner() + tag("endfor"), lambda: tag("set q = 1"), lambda: "{#" + r.choice("-+ ") + " c " + r.choice("-+ ") + "#}",
                         lambda: tag("raw").replace("+%}", "%}") + text() + r.choice(["{{ x }}", "{% y %}", ""]) + text() + tag("endraw"), lambda: tag("if not n") + inner() + tag("else") + inner() + tag("endif"),
                         lambda: tag("generation") + inner() + tag("endgeneration"), lambda: tag("set z") + inner() + tag("endset") + "{{-" + " z }}", lambda: "{{" + r.choice(["", "-"]) + " n " + r.choice(["", "-"]) + "}}"])()
    return text() + "".join(block() + text() for _ in range(r.randrange(1, 4) if depth else 0))


ADDRESS = re.compile(r"t[. ]+0\.?x(\.?[0-9a-f]){6,}", re.I)  # also after title and replace


def cell(template):
    text = render(template)
    return False if text and ADDRESS.search(text) else text


def grid(template, a, b=("",)):
    return {"template": template, "a": a, "b": list(b), "want": [[cell(template.replace("$a", x).replace("$b", y)) for y in b] for x in a]}


def literal(c):
    return "'\\U%08x'" % c


grids = [grid("{{ $a | $b }}", VALUES, FILTERS), grid("{{ $a is $b }}", VALUES, TESTS), grid("{{ ($a)$b }}", VALUES, AFTER)]
grids += [grid("{{ " + x + " }}", VALUES) for x in AROUND] + [grid(x, VALUES) for x in LOOPS]
grids += [grid("{{ $a " + op + " $b }}", OPERANDS, [x for x in OPERANDS if not (op == "*" and x == "big")]) for op in OPERATORS]
grids += [grid("{{ $a.$b }}", STRINGS, METHODS), grid("{{ ($a) | $b }}", STRINGS, STRING_FILTERS), grid("{{ [$a] }}", STRINGS)]
grids += [grid("{{ '$b' % ($a,) }}", NUMBERS, PRINTF), grid("{{ '{:$b}'.format($a) }}", NUMBERS, SPECS), grid("{{ '$a'.format('x', 5, a='A', b=[1, 2], c={'k': 'v'}, w=3) }}", FIELDS)]
grids += [grid("{{ strftime_now('%$b$a') }}", list("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%N+"), ["", "-", "_", "0", "^", "#"]), grid("{{ $a }}", ODDITIES), grid(ASKED, [literal(c) for c in CHARACTERS])]
BOUNDS = ["", "none", "0", "1", "2", "-1", "-2", "5", "-9"]
grids.append(grid("|".join("{{ $a[%s:%s$b] }}" % (lo, hi) for lo in BOUNDS for hi in BOUNDS), ["'abcd'", "[1, 2, 3]", "(1, 2)", "'é天x'", "''"], ["", ":2", ":-1", ":-2"]))
random_ = random.Random(7)
grids.append(grid("$a", [x.replace("\\n", "\n") for x in SCOPES] + [spaced(random_, 2) for _ in range(250)]))
with open(OUT + "grid.json", "w") as f:
    f.write('{"vars": ' + json.dumps(VARS) + ',\n"grids": [\n' + ",\n".join(json.dumps(g, ensure_ascii=False, separators=(",", ":")) for g in grids) + "\n]}\n")
print(sum(len(g["a"]) * len(g["b"]) for g in grids), "templates")
