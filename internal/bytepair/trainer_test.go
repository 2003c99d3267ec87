package bytepair

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
)

// times are documents of one word each, word after word.
func times(counts map[string]int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for word, n := range counts {
			for range n {
				if !yield([]byte(word), nil) {
					return
				}
			}
		}
	}
}

// sennrich are the words of section 3.2 of "Neural Machine Translation of Rare Words with Subword Units" (Sennrich et al., 2016).
var sennrich = map[string]int{"low": 5, "lower": 2, "newest": 6, "widest": 3}

func learn(t *testing.T, change func(*Config)) Learned {
	t.Helper()
	pattern, err := NewPattern(GPT2)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Pattern: &pattern, VocabSize: 1000, Progress: func(string, int64, int64) {}}
	change(&cfg)
	l, err := Learn(context.Background(), times(sennrich), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLearnByHand: the pair seen most often is merged first and, of pairs seen as often, that of the lower ids. Worked out on paper.
func TestLearnByHand(t *testing.T) {
	all := []string{"es", "est", "lo", "low", "ew", "new", "newest", "dest", "idest", "widest", "er", "lower"}
	for _, workers := range []int{0, 3} {
		l := learn(t, func(c *Config) { c.Workers = workers })
		if got := l.Names[256:]; !slices.Equal(got, all) {
			t.Fatalf("%d workers: learned %q, want %q", workers, got, all)
		}
		for id, name := range l.Names {
			if l.IDs[name] != int32(id) {
				t.Errorf("%q is token %d and has the id %d", name, id, l.IDs[name])
			}
		}
		for i, p := range l.Merges {
			if got := l.Names[p.Left()] + l.Names[p.Right()]; got != all[i] {
				t.Errorf("merge %d makes %q, want %q", i, got, all[i])
			}
		}
	}
	if l := learn(t, func(c *Config) { c.MinFrequency = 6 }); !slices.Equal(l.Names[256:], all[:7]) {
		t.Errorf("seen six times or more: %q", l.Names[256:])
	}
	if l := learn(t, func(c *Config) { c.VocabSize, c.SpecialTokens = 261, []string{"<a>", "<b>"} }); len(l.Names) != 261 ||
		!slices.Equal(l.Names[:2], []string{"<a>", "<b>"}) || !slices.Equal(l.Names[258:], all[:3]) {
		t.Errorf("with special tokens there are %d tokens, from %q to %q", len(l.Names), l.Names[:2], l.Names[258:])
	}
}

// TestLearnStops where there is nothing to learn from, where the documents fail, and where nobody waits any more.
func TestLearnStops(t *testing.T) {
	pattern, err := NewPattern(GPT2)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Pattern: &pattern, VocabSize: 300, Progress: func(string, int64, int64) {}}
	if _, err := Learn(context.Background(), times(nil), cfg); !errors.Is(err, errNoWords) {
		t.Errorf("without documents: %v", err)
	}
	broken := errors.New("broken")
	docs := func(yield func([]byte, error) bool) { _ = yield([]byte("low"), nil) && yield(nil, broken) }
	if _, err := Learn(context.Background(), docs, cfg); !errors.Is(err, broken) {
		t.Errorf("documents that fail: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Learn(ctx, times(sennrich), cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestAlphabet spells every byte by a printable character of its own, and reads no other character.
func TestAlphabet(t *testing.T) {
	a, seen := ByteAlphabet(), map[rune]bool{}
	for b, r := range a.Spelling {
		if seen[r] || r <= ' ' || r == 0x7F {
			t.Errorf("byte %d is spelled %q, which is another's or cannot be seen", b, r)
		}
		seen[r] = true
		if got, ok := a.Read(string(r)); !ok || len(got) != 1 || got[0] != byte(b) {
			t.Errorf("%q reads as %v, %v", r, got, ok)
		}
	}
	if a.Spelling[' '] != 'Ġ' || a.Spelling['\n'] != 'Ċ' || a.Spelling['A'] != 'A' {
		t.Errorf("space, newline and A are spelled %q, %q and %q", a.Spelling[' '], a.Spelling['\n'], a.Spelling['A'])
	}
	for _, s := range []string{" ", "\n", "天", "Ňŉ", string(rune(256 + 68))} {
		if _, ok := a.Read("A" + s); ok {
			t.Errorf("%q is read, and spells no byte", s)
		}
	}
}

// TestPages holds the table to a map, before and after equal pages are shared.
func TestPages(t *testing.T) {
	p, want := new(Pages), map[rune]uint8{}
	for i, ranges := range [][]uint32{{'a', 'z', 0x4E00, 0x9FFF}, {'m', 'm', 0xFF, 0x100, 0x10FFFF, 0x10FFFF}} {
		p.Add(ranges, 1<<i)
		for j := 0; j < len(ranges); j += 2 {
			for r := ranges[j]; r <= ranges[j+1]; r++ {
				want[rune(r)] |= 1 << i
			}
		}
	}
	pages := len(p.pages)
	for range 2 {
		for r := rune(0); r <= 0x10FFFF; r++ {
			if p.Of(r) != want[r] {
				t.Fatalf("U+%04X is %b, want %b", r, p.Of(r), want[r])
			}
		}
		if p.Share(); len(p.pages) >= pages-80 { // the ideographs are one page then
			t.Errorf("%d of %d pages are left", len(p.pages), pages)
		}
	}
}

// TestTranslate spells what the two engines read differently, and refuses what it cannot.
func TestTranslate(t *testing.T) {
	for from, want := range map[string]string{
		`\p{L}+|\s`:  `\p{L}+|\s`,
		`\w`:         "[" + onigWord + "]",
		`\W`:         "[^" + onigWord + "]",
		`[\w-]`:      "[" + onigWordInClass + "-]",
		`[a[bc]d]`:   `[abcd]`,
		`[]a]`:       `[]a]`,
		`[^]a]`:      `[^]a]`,
		`[\]a]`:      `[\]a]`,
		`a++b`:       `(?>a+)b`,
		`[ab]*+`:     `(?>[ab]*)`,
		`(ab)?+c`:    `(?>(ab)?)c`,
		`\pL\w}`:     `pL[` + onigWord + `]}`,
		`a(?i)b|c`:   `a(?i:b|c)`,
		`((?i)a)b`:   `((?i:a))b`,
		`(?i)\p{Lu}`: `(?i:(?-i:\p{Lu}))`,
		`(?i:)\p{L}`: `(?i:)\p{L}`,
		`é++天*+`:     `(?>é+)(?>天*)`,
		`\é++`:       `(?>\é+)`,
		`\x41++`:     `(?>\x41+)`,
		`\x{5929}*+`: `(?>\x{5929}*)`,
		`\u5929?+9`:  `(?>\u5929?)9`,
		`\p{^L}+`:    `\P{L}+`,
		`[\P{^Nd}]`:  `[\p{Nd}]`,
		`\_[\_]`:     `_[_]`,
		`\h[^\h]`:    "[0-9a-fA-F][^0-9a-fA-F]",
		`\bx\B`:      wordBoundary + "x" + elsewhere,
		`[\W_]`:      `[\s\S-[` + onigWordInClass + `-[_]]]`,
		`[^\W\d_]`:   "[" + onigWordInClass + `-[\d_]]`,
		`[^a\W]]`:    "[" + onigWordInClass + `-[a]]]`,
		`[\W^]`:      `[\s\S-[` + onigWordInClass + `-[\^]]]`,
		`[^\W]`:      "[" + onigWordInClass + "]",
		`\p{Lu}++`:   `(?>\p{Lu}+)`,
		`x(?:a(b))+`: `x(?:a(b))+`,
		`a\`:         `a\`,
		`[a`:         `[a`, // the engine says what is wrong with it
	} {
		if got, err := translate(from); err != nil || got != want {
			t.Errorf("%s becomes %s, %v; want %s", from, got, err, want)
		}
	}
	for from, want := range map[string]string{`[a&&b]`: "&&", `\G`: `\G is not supported`, `[[:alpha:]]`: "POSIX", `[a[^b]]`: "negated class inside",
		`(?<n>a)(?<n>b)\k<n>`: "two groups named n are not supported"} {
		if _, err := NewPattern(from); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", from, err)
		}
	}
}

// TestOniguruma cuts as the reference does (tokenizers 0.23.3, pre_tokenizers.Split(Regex(regex), "isolated")) where its engine reads an expression in
// another way than the one here would: what a possessive quantifier took is not given back, + behind an interval repeats it, and ? makes {2} optional;
// ^ and $ stand at every line end, m is for the dot, and \b and \W are of the characters that \w has there.
func TestOniguruma(t *testing.T) {
	for _, c := range []struct{ regex, text, want string }{
		{`a+ab|.`, "aaab", "aaab"}, {`a++ab|.`, "aaab", "a|a|a|b"}, {`é++é|.`, "éééx", "é|é|é|x"}, {`天*+x`, "天天x", "天天x"},
		{`\p{N}{1,3}+`, "1234567 89", "1234567| |89"}, {`a{2}+`, "aaaaa", "aaaa|a"}, {`a{2}+a`, "aaaa", "aaa|a"}, {`x{1,2}+y`, "xxxxy", "xxxxy"}, {`a{1,}+a`, "aaa", "aaa"},
		{`[ab]{2}+`, "ababa", "abab|a"}, {`(ab){1,2}+`, "abababab", "abababab"}, {`a{2}?b`, "baab", "b|aab"}, {`a{1,2}?b`, "aab", "aab"}, {`a{2,3}?`, "aaaaa", "aa|aa|a"},
		{`a{,2}`, "aaaa", "aa|aa"}, {`(ab){,2}`, "ababab", "abab|ab"}, {`a{,}`, "a{,}", "a{,}"}, {`a{2`, "a{2aa", "a{2|aa"}, {`a{x}`, "a{x}", "a{x}"}, {`\x{61}+`, "aab", "aa|b"},
		{`^ +`, " a\n  b", " |a\n|  |b"}, {`^`, "a\nb\n", "a\n|b\n"}, {`^$`, "\n\n", "\n|\n"}, {` +$`, "a \nb  ", "a| |\nb|  "}, {`\s++$`, "a \nb", "a \nb"}, {`[^\n]$`, "ab\r\nc", "ab|\r|\n|c"},
		{`(?!^)a`, "aa\na", "a|a|\na"}, {`[$^]`, "a$^", "a|$|^"}, {`\$$`, "a$\n", "a|$|\n"},
		{`(?m:.)+`, "a\nb", "a\nb"}, {`(?m).+`, "a\nb", "a\nb"}, {`.+`, "a\nb", "a|\n|b"}, {`(?im:A.)`, "a\nb", "a\n|b"}, {`(?i-m:A)`, "a\nb", "a|\nb"}, {`(?x: a b )+`, "abab", "abab"},
		{`\b`, "a²b aⓐ-b c①d", "a²b| |aⓐ|-|b| |c|①|d"}, {`\B`, "ab²+", "a|b|²+"}, {`[\W_]+`, "ab_c①d-²", "ab|_|c|①|d|-²"}, {`[^\W\d_]+`, "ab1_c①dⓐ ", "ab|1_|c|①|dⓐ| "},
		{`a(?i)b|c`, "abABcC aC ab", "ab|ABcC |aC| |ab"}, {`(x|a(?i)b|c)d`, "xd aBd cd Cd acd", "xd| |aBd| cd Cd |acd"}, {`(?i)a(?-i)b|c`, "abABcC aC ab", "ab|ABcC aC |ab"},
		{`x(?:(?i)a|b)c|d`, "xac xAc xBC xBc D d", "xac| |xAc| xBC |xBc| D |d"}, {`(a(?i)b|c)++d`, "abd aBCcd d", "abd| aBCcd d"}, {`(?i)(?m)a.|b(?-i)c|d`, "A\nBc BC D d", "A\n|Bc| BC D d"},
		{`(?<=a(?i)b)c`, "abc aBc abC", "ab|c| aB|c| abC"}, {`(?i)\p{Lu}`, "aB c", "a|B| c"}, {`(?i)\p{Ll}`, "aB c", "a|B |c"}, {`(?i)\P{Lu}`, "aB c", "a|B| |c"},
		{`\pL`, "pLa", "pL|a"}, {`[\pL]`, "pLa", "p|L|a"}, {`\Q.\E`, "Q.E -", "Q.E| -"}, {`[\Qa]`, `QaE\`, `Q|a|E\`}, {`(?i)\pl`, "PL pl", "PL| |pl"}, {`(?i:\p{Lu})b|(?-i)\p{Lu}`, "aB Ab", "a|B| |Ab"},
		{`(?x) a # of (many`, "aab", "a|a|b"}, {"(?x) a # (?i)\n b", "abaB", "ab|aB"}, {"(?x: a # )\n b)c d", "abc d abcd", "abc d| abcd"}, {`(?x) a ++ b`, "aab a b", "aab| a b"}, {"(?x)a # )\n ++b", "aab", "aab"},
		{`(?x)a(?-x) b`, "a bab", "a b|ab"}, {`(?x)[a #]\#`, "a##b", "a#|#b"}, {`(?i)(?# a ( \) b)c`, "cCb", "c|C|b"}, {`a(?# ()+b`, "aab", "aab"},
		{`\x41++A|\u5929++`, "AA天天", "AA|天天"}, {`\p{^L}+|\_`, "a_b1", "a|_|b|1"}, {`\h{2}`, "afg09", "af|g|09"},
	} {
		p, err := NewPattern(c.regex)
		if err != nil {
			t.Errorf("%s: %v", c.regex, err)
			continue
		}
		var words []string
		p.Words([]byte(c.text), func(start, end int) { words = append(words, c.text[start:end]) })
		if got := strings.Join(words, "|"); got != c.want {
			t.Errorf("%s cuts %q into %q, want %q", c.regex, c.text, got, c.want)
		}
	}
}
