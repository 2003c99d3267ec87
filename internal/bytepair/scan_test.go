package bytepair

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// Where Go's Unicode version assigns a character, the table must agree with it: a check by other hands.
func TestClassesAgreeWithUnicode(t *testing.T) {
	c, seen := Unicode(), 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		want := classOther
		switch {
		case unicode.IsLetter(r):
			want = classLetter
		case unicode.IsNumber(r):
			want = classNumber
		case unicode.IsSpace(r):
			want = classSpace
		case !unicode.In(r, unicode.M, unicode.P, unicode.S, unicode.Cc, unicode.Cf, unicode.Co):
			continue
		}
		seen++
		if got := c.ofRune(r); got != want {
			t.Fatalf("U+%04X is of class %d, Go says %d", r, got, want)
		}
	}
	if seen < 280_000 {
		t.Errorf("compared %d characters only", seen)
	}
}

// neutral replaces what the regular expression engine sees otherwise for good reasons: characters newer than Go's Unicode tables, and
// the long s, which case folding makes an s in the reference but not in this engine.
func neutral(text []byte) []byte {
	var out []byte
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		known := unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cc, unicode.Cf, unicode.Co)
		if known && r != 'ſ' {
			out = append(out, text[:size]...)
		} else {
			out = append(out, '*')
		}
		text = text[size:]
	}
	return out
}

// engines compiles the known expressions for the engine, once.
var engines = sync.OnceValue(func() map[string]*regexp2.Regexp {
	return map[string]*regexp2.Regexp{GPT2: regexp2.MustCompile(GPT2), Llama3: regexp2.MustCompile(Llama3), Qwen2: regexp2.MustCompile(Qwen2)}
})

func compareWithRegex(t *testing.T, text []byte) {
	t.Helper()
	text = neutral(text)
	for _, regex := range []string{GPT2, Llama3, Qwen2} {
		known, err := NewPattern(regex)
		if err != nil {
			t.Fatal(err)
		}
		unknown := Pattern{Regex: regex, fallback: engines()[regex]}
		var got, want []int
		known.Words(text, func(_, end int) { got = append(got, end) })
		unknown.Words(text, func(_, end int) { want = append(want, end) })
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("%q: word ends\n got %v\nwant %v\nfor %s", text, got, want, regex)
			}
		}
	}
}

func randomText(rng *rand.Rand) []byte {
	pool := []string{"a", "Z", "9", " ", " ", "\n", "\r", "\t", "'", "'s", "'LL", "s", "ve", "l", "D", "ŕ", "Ŀ", ".", "-", "é", "天", "\u00a0", "\u3000", "\u0301", "½", "٣", "\u200d", "👍", "\x00", "\xff", "\xe2\x82", "ſ"}
	var out []byte
	for range rng.IntN(30) {
		out = append(out, pool[rng.IntN(len(pool))]...)
	}
	return out
}

func TestScannersEqualTheExpressions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		compareWithRegex(t, randomText(rng))
	}
}

func FuzzScanners(f *testing.F) {
	f.Add([]byte("it's  1234\r\n\n x \xff天'LL"))
	f.Fuzz(func(t *testing.T, text []byte) { compareWithRegex(t, text) })
}

// TestGivesUpOnce: an engine that gave up among its matches, and does not on a second try, has each told once; one that always does tells what it has.
func TestGivesUpOnce(t *testing.T) {
	re, text := regexp2.MustCompile(`\w`), []rune("abcde")
	for tries, want := range map[string]string{"5": "abcde", "35": "abcde", "05": "abcde", "31": "abc", "24": "abcd", "33": "abc"} {
		try, got := 0, ""
		twice(func(each func(regexp2.MatchView) bool) error {
			left := int(tries[try] - '0')
			try++
			var gaveUp error
			err := re.FindRunesMatches(text, 0, func(m regexp2.MatchView) bool {
				if left--; left < 0 {
					gaveUp = errors.New("match timeout")
				}
				return gaveUp == nil && each(m)
			})
			return errors.Join(err, gaveUp)
		}, func(m regexp2.MatchView) {
			from, n, _ := m.GroupRange(0)
			got += string(text[from : from+n])
		})
		if got != want || try != len(tries) {
			t.Errorf("tries that find %s: %q in %d, want %q", tries, got, try, want)
		}
	}
}

// A cut at a safe place gives the same words as no cut.
func TestSafeCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, regex := range []string{GPT2, Llama3, Qwen2} {
		p, err := NewPattern(regex)
		if err != nil {
			t.Fatal(err)
		}
		cuts := 0
		for range 3000 {
			text := randomText(rng)
			cut := p.SafeCut(text, rng.IntN(len(text)+1))
			if cut == len(text) {
				continue
			}
			cuts++
			words := func(text []byte) (all []string) {
				p.Words(text, func(start, end int) { all = append(all, string(text[start:end])) })
				return all
			}
			if got, want := append(words(text[:cut]), words(text[cut:])...), words(text); !slices.Equal(got, want) {
				t.Fatalf("%s: %q cut at %d gives %q, want %q", regex, text, cut, got, want)
			}
		}
		if cuts < 100 {
			t.Errorf("%s: only %d texts were cut", regex, cuts)
		}
	}
}
