package bytepair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func gpt2(t *testing.T) *Pattern {
	t.Helper()
	p, err := NewPattern(GPT2)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// counts are the words of a table.
func (w *wordTable) counts() map[string]int64 {
	all := map[string]int64{}
	for i := range w.entries {
		all[string(w.word(&w.entries[i]))] += w.entries[i].count
	}
	return all
}

func documents(texts ...string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, text := range texts {
			if !yield([]byte(text), nil) {
				return
			}
		}
	}
}

// TestCountsEqualTheDefinition: cutting documents into pieces and sharing them among workers changes no word and no count; a word without an end counts in
// parts. What is reported at the end is all that was read.
func TestCountsEqualTheDefinition(t *testing.T) {
	var b strings.Builder
	r := rand.New(rand.NewPCG(41, 42))
	for b.Len() < 3*pieceBytes+1000 {
		for range 1 + r.IntN(12) {
			b.WriteString(strings.Repeat(" ", r.IntN(3)) + []string{"one", "two", "three's", "4567", "é", "!?"}[r.IntN(6)])
		}
		b.WriteString([]string{"\n", "\r\n", "\n\n ", " \n"}[r.IntN(4)])
	}
	text := b.String()
	want := map[string]int64{}
	gpt2(t).Words([]byte(text), func(start, end int) { want[text[start:end]]++ })
	for _, workers := range []int{1, 3} {
		read := int64(0)
		cfg := Config{Pattern: gpt2(t), Workers: workers, Progress: func(stage string, n, _ int64) { read = n }}
		words, err := countWords(context.Background(), documents(text, "one"), cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := words.counts()
		got["one"]--
		for w, n := range want {
			if got[w] != n {
				t.Errorf("%q stands %d times, want %d", w, got[w], n)
			}
		}
		if len(got) != len(want) || read != int64(len(text)+3) {
			t.Errorf("%d workers: %d different words, want %d; %d bytes read", workers, len(got), len(want), read)
		}
	}
	long := strings.Repeat("x", 2*maxTrainWord+10)
	words, err := countWords(context.Background(), documents(long, long[:maxTrainWord]), Config{Pattern: gpt2(t), Progress: func(string, int64, int64) {}})
	if got := words.counts(); err != nil || len(got) != 2 || got[long[:maxTrainWord]] != 3 || got[long[:10]] != 1 {
		t.Errorf("a long word is %d words, %v", len(got), err)
	}
}

// TestRoundsAddUp: tables of workers are empty again when a round was added to the total.
func TestRoundsAddUp(t *testing.T) {
	c := &counter{cfg: Config{Pattern: gpt2(t), MaxWords: defaultWords}, total: newWordTable(1), tables: []*wordTable{newWordTable(1), newWordTable(1)}}
	r := new(round)
	for range 2 {
		r.empty().add([]byte("a b"))
		r.add([]byte("a"))
		c.count(t.Context(), r)
	}
	if got := c.total.counts(); fmt.Sprint(got) != "map[ b:2 a:4]" {
		t.Errorf("%v", got)
	}
}

// TestFewWordsAreKept: above MaxWords the frequent half stays, whether there are too many words or too long ones; at MaxWords all do.
func TestFewWordsAreKept(t *testing.T) {
	for name, c := range map[string]struct {
		most int
		text string
		want string
	}{
		"as many as may be": {6, "a a a b b c d e", "map[ a:2  b:2  c:1  d:1  e:1 a:1]"},
		"too many":          {5, "x x x x y y y z a b c d", "map[ x:3  y:3]"},
		"too long":          {2, "x x x " + strings.Repeat("y", 100), "map[ x:2]"},
		"as long as may be": {2, "x" + strings.Repeat("\n", 63), "map[" + strings.Repeat("\n", 63) + ":1 x:1]"},
		"a byte too long":   {2, "x" + strings.Repeat("\n", 64), "map[]"},
		"three for two":     {4, "x x x y y z z a", "map[]"},
		"half as long":      {4, strings.Repeat(" "+strings.Repeat("p", 59), 3) + strings.Repeat(" qqq", 3) + strings.Repeat("\n", 65), "map[ " + strings.Repeat("p", 59) + ":3  qqq:3]"},
		"more than half":    {4, strings.Repeat(" "+strings.Repeat("p", 59), 3) + strings.Repeat(" qqqq", 3) + strings.Repeat("\n", 65), "map[]"},
	} {
		words, err := countWords(context.Background(), documents(c.text), Config{Pattern: gpt2(t), MaxWords: c.most, Progress: func(string, int64, int64) {}})
		if got := fmt.Sprint(words.counts()); err != nil || got != c.want {
			t.Errorf("%s: %s, want %s (%v)", name, got, c.want, err)
		}
	}
}

// TestCountingEnds where the documents fail or nobody waits any more, also between documents.
func TestCountingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	docs := func(yield func([]byte, error) bool) {
		for ; n < 100; n++ {
			if n == 3 {
				cancel()
			}
			if !yield([]byte("a"), nil) {
				return
			}
		}
	}
	if _, err := countWords(ctx, docs, Config{Pattern: gpt2(t), Progress: func(string, int64, int64) {}}); !errors.Is(err, context.Canceled) || n != 3 {
		t.Errorf("after %d documents: %v", n, err)
	}
}

// TestCountingEndsLate: who waits no more when the last document was read gets no counts either.
func TestCountingEndsLate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	docs := func(yield func([]byte, error) bool) { yield([]byte("a"), nil); cancel() }
	if _, err := countWords(ctx, docs, Config{Pattern: gpt2(t), Progress: func(string, int64, int64) {}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// lasting is a context that is done after its error was asked for so many times.
type lasting struct {
	context.Context
	times int
}

func (l *lasting) Err() error {
	if l.times--; l.times < 0 {
		return context.Canceled
	}
	return nil
}

// TestCountingEndsWithin a document and a round, which may be of many megabytes: a few pieces more are read, and none counted.
func TestCountingEndsWithin(t *testing.T) {
	c := &counter{cfg: Config{Pattern: gpt2(t), MaxWords: defaultWords, Progress: func(string, int64, int64) {}}, total: newWordTable(1), tables: []*wordTable{newWordTable(1)}}
	docs := func(yield func([]byte, error) bool) { yield([]byte(strings.Repeat("some words\n", pieceBytes)), nil) }
	filled, free := make(chan *round, 1), make(chan *round, 1)
	free <- new(round)
	if err := c.fill(&lasting{t.Context(), 3}, docs, filled, free); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r := <-filled
	if len(r.pieces) != 2 {
		t.Errorf("%d pieces of 11 are read, want 2", len(r.pieces))
	}
	c.count(&lasting{t.Context(), 1}, &round{text: []byte("a b"), pieces: [][2]int{{0, 1}, {1, 3}}})
	if n := len(c.total.entries); n != 1 {
		t.Errorf("%d words of a round are counted, want 1", n)
	}
}

// TestRoundsOfText: documents are cut into pieces of about 256 KiB where no word is cut, and a round ends with the piece that fills it.
func TestRoundsOfText(t *testing.T) {
	long := strings.Repeat("some words and 12345 numbers\n", 22_000) // 638,000 bytes
	want := roundBytes/len(long) + 1                                 // documents of the first round
	c := &counter{cfg: Config{Pattern: gpt2(t)}}
	var progress []int64
	c.cfg.Progress = func(stage string, n, total int64) {
		if stage != "count" || total != 0 {
			t.Errorf("%s of %d", stage, total)
		}
		progress = append(progress, n)
	}
	docs := func(yield func([]byte, error) bool) {
		for range want + 1 {
			if !yield([]byte(long), nil) {
				return
			}
		}
	}
	filled, free := make(chan *round, 2), make(chan *round, 2)
	free <- new(round)
	free <- new(round)
	if err := c.fill(context.Background(), docs, filled, free); err != nil || len(filled) != 2 {
		t.Fatalf("%d rounds, %v", len(filled), err)
	}
	first, second := <-filled, <-filled
	if n := len(first.text) + len(second.text); n != (want+1)*len(long) || len(first.text) < roundBytes || len(first.text)-first.pieces[len(first.pieces)-1][0] > len(long) {
		t.Errorf("%d bytes in all, %d in the first round", n, len(first.text))
	}
	if last := first.pieces[len(first.pieces)-1]; last[0] >= roundBytes || last[1] != len(first.text) {
		t.Errorf("the first round of %d bytes ends with the piece %v", len(first.text), last)
	}
	if last := int64((want + 1) * len(long)); len(progress) != 2 || progress[1] != last || progress[0] > last {
		t.Errorf("progress %v, want %d at last", progress, last)
	}
	at := 0
	for i, p := range first.pieces {
		piece := first.text[p[0]:p[1]]
		if p[0] != at || len(piece) == 0 || len(piece) > pieceBytes+10 || i%3 < 2 && len(piece) < pieceBytes {
			t.Fatalf("piece %d is %v, behind %d", i, p, at)
		}
		if at = p[1]; i%3 > 0 && piece[0] != ' ' && piece[0] != '\n' {
			t.Fatalf("piece %d begins with %q", i, piece[:10])
		}
	}
}

// TestSafeCutByHand: the first white space at or after a place that stands behind a letter or number, and is not the first character.
func TestSafeCutByHand(t *testing.T) {
	for text, want := range map[string][]int{"a b": {1, 1, 3, 3}, "1 b": {1, 1, 3, 3}, "! b": {3, 3, 3, 3}, " b c": {2, 2, 2, 4, 4}, "é b": {2, 2, 2, 4, 4}, "٣\u3000b": {2, 2, 2, 6, 6, 6, 6}, "a\n\nb": {1, 1, 4, 4, 4}, "": {0}, "\xff a": {3, 3, 3}} {
		for i, w := range want {
			if got := gpt2(t).SafeCut([]byte(text), i); got != w {
				t.Errorf("%q from %d on is cut at %d, want %d", text, i, got, w)
			}
		}
	}
}

// TestHashSpreads: words that differ in one byte, wherever it stands, have hashes whose upper bits differ as those of random numbers do. 256 balls in 4096
// boxes leave about 8 pairs in one box; 40 would be a hash that does not mix.
func TestHashSpreads(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 16, 23, 40} {
		for at := range n {
			boxes := map[uint64]int{}
			pairs := 0
			for b := range 256 {
				word := make([]byte, n)
				word[at] = byte(b)
				h := Hash(word)
				pairs += boxes[h>>52]
				boxes[h>>52]++
			}
			if pairs > 40 {
				t.Errorf("words of %d bytes that differ in byte %d: %d pairs in one box of 4096", n, at, pairs)
			}
		}
	}
}

// TestSpecialTokensOnce: a special token that is spelled like a byte, or stands twice, is one token.
func TestSpecialTokensOnce(t *testing.T) {
	l := learn(t, func(c *Config) { c.SpecialTokens, c.VocabSize = []string{"<s>", "a", "<s>"}, 258 })
	if len(l.Names) != 258 || l.IDs["<s>"] != 0 || l.IDs["a"] != 1 || l.IDs["!"] != 2 || l.IDs["es"] != 257 {
		t.Errorf("%d tokens, %q", len(l.Names), l.Names[:4])
	}
}

// TestLearnTells how far it is after every 256 merges and at the end, and stops there for who waits no more.
func TestLearnTells(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 46))
	words := map[string]int{}
	for range 300 {
		word := make([]byte, 12)
		for i := range word {
			word[i] = byte('a' + r.IntN(26))
		}
		words[string(word)] = 1
	}
	var told []string
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cfg := Config{Pattern: gpt2(t), VocabSize: 256 + 600, Progress: func(stage string, n, total int64) {
		if told = append(told, fmt.Sprintf("%s %d/%d", stage, n, total)); len(told) == 7 {
			cancel()
		}
	}}
	l, err := Learn(ctx, times(words), cfg)
	want := []string{"count 3600/0", "merge 512/856", "merge 768/856", "merge 856/856"}
	if err != nil || len(l.Names) != 856 || !slices.Equal(told, want) {
		t.Errorf("told %q, want %q (%v)", told, want, err)
	}
	// cancelled by the seventh call, behind the second 256 merges of the second run, it stops before the third
	cfg.VocabSize = 256 + 900
	if l, err := Learn(ctx, times(words), cfg); !errors.Is(err, context.Canceled) || len(l.Names) != 256+768 || len(told) != 7 {
		t.Errorf("%d tokens after %q, %v", len(l.Names), told, err)
	}
	if _, err := Learn(context.Background(), times(nil), Config{Pattern: gpt2(t), Progress: func(string, int64, int64) {}}); err == nil || err.Error() != "the documents hold no text to learn merges from; check the data path" {
		t.Errorf("%v", err)
	}
}

// TestPagesAreShared: the table of the patterns is a few pages of 256 bytes, not one for each 256 of 1,114,112 characters.
func TestPagesAreShared(t *testing.T) {
	if n := len(Unicode().pages.pages); n > 400 {
		t.Errorf("%d pages", n)
	}
	if _, err := NewPattern(`[a&&b]`); err == nil || !strings.HasPrefix(err.Error(), `pattern "[a&&b]": `) {
		t.Errorf("%v", err)
	}
}

// slowLearn merges by the definition: count all pairs of all words, merge the most frequent, of equally frequent ones that of the lowest ids, again and again.
// ok is false when two merges made one token, where the reference has habits of its own.
func slowLearn(words map[string]int, merges int) (names []string, ok bool) {
	runes := ByteAlphabet().Spelling
	slices.Sort(runes[:])
	ids := map[string]int32{}
	for i, r := range runes {
		ids[string(r)], names = int32(i), append(names, string(r))
	}
	split := map[string][]int32{}
	for w := range words {
		for _, b := range []byte(w) {
			split[w] = append(split[w], ids[string(ByteAlphabet().Spelling[b])])
		}
	}
	for range merges {
		count := map[Pair]int{}
		for w, s := range split {
			for i := range len(s) - 1 {
				count[MakePair(s[i], s[i+1])] += words[w]
			}
		}
		var best []Pair
		for p := range count {
			best = append(best, p)
		}
		if len(best) == 0 {
			return names, true
		}
		p := slices.MinFunc(best, func(a, b Pair) int { return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b)) })
		name := names[p.Left()] + names[p.Right()]
		if _, twice := ids[name]; twice {
			return nil, false
		}
		ids[name], names = int32(len(names)), append(names, name)
		for w, s := range split {
			for i := 0; i+1 < len(s); i++ {
				if s[i] == p.Left() && s[i+1] == p.Right() {
					s = slices.Replace(s, i, i+2, ids[name])
				}
			}
			split[w] = s
		}
	}
	return names, true
}

// TestLearnEqualsTheDefinition learns from random words with few letters, where counts change and tie all the time, until nothing is left to merge.
func TestLearnEqualsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	compared := 0
	for range 150 {
		words := map[string]int{}
		for range 1 + r.IntN(6) {
			word := make([]byte, 1+r.IntN(9))
			for i := range word {
				word[i] = "abcde"[r.IntN(2+r.IntN(4))]
			}
			words[string(word)] += 1 + r.IntN(4)
		}
		want, ok := slowLearn(words, 100)
		if !ok {
			continue
		}
		compared++
		l, err := Learn(context.Background(), times(words), Config{Pattern: gpt2(t), VocabSize: 1000, Progress: func(string, int64, int64) {}})
		if err != nil || !slices.Equal(l.Names, want) {
			t.Fatalf("%v: learned %q, want %q (%v)", words, l.Names[256:], want[256:], err)
		}
		if len(l.Merges) != len(want)-256 {
			t.Fatalf("%v: %d merges for %d tokens", words, len(l.Merges), len(want)-256)
		}
		for i, p := range l.Merges {
			if got := l.Names[p.Left()] + l.Names[p.Right()]; got != want[256+i] {
				t.Fatalf("%v: merge %d makes %q, want %q", words, i, got, want[256+i])
			}
		}
	}
	if compared < 40 {
		t.Errorf("only %d of 150 were compared", compared)
	}
}

// TestContractions: every one in every case, at the end of a text and before more of it, is what the expressions say.
func TestContractions(t *testing.T) {
	for name, c := range map[string]struct {
		scan Scanner
		fold bool
	}{"GPT-2": {ScanGPT2, false}, "Llama 3": {scanLlama3, true}, "Qwen 2": {scanQwen2, true}} {
		for _, tail := range []string{"", "x", " x", "'s", "é"} {
			for _, short := range []string{"s", "t", "re", "ve", "m", "ll", "d", "S", "rE", "Ve", "LL", "ſ"} {
				text := "'" + short + tail
				want := 1 + len(short)
				if !c.fold && short != strings.ToLower(short) || !c.fold && short == "ſ" { // an apostrophe, then letters
					want = 1
				}
				if got := c.scan(Unicode(), []byte(text), 0); got != want {
					t.Errorf("%s: the first word of %q has %d bytes, want %d", name, text, got, want)
				}
			}
			for _, short := range []string{"r", "v", "l", "le", "rl", "ee", "x", "ŕx", "Ŀx"} { // none; where the expression takes a sign with letters it takes them all
				text := "'" + short + "."
				want := 1
				if c.fold {
					want = 1 + len(short)
				}
				if got := c.scan(Unicode(), []byte(text), 0); got != want {
					t.Errorf("%s: the first word of %q has %d bytes, want %d", name, text, got, want)
				}
			}
		}
	}
}

// TestMatchesCover: what an expression leaves out is there, too, in order, and the places are of bytes.
func TestMatchesCover(t *testing.T) {
	p, err := NewPattern(`[a-z]+`)
	if err != nil {
		t.Fatal(err)
	}
	one, err := NewPattern(`\d|z*`)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"12ab34": "-12 +ab -34", "ab": "+ab", "é天x\xff!": "-é天 +x -\xff!", "": "", "aé": "+a -é", "#12z3a": "+1 +2 +z +3 -a +"} {
		var got []string
		p := p
		if strings.HasPrefix(text, "#") { // matches of one character, side by side, and empty ones
			p, text = one, text[1:]
		}
		p.Matches([]byte(text), func(start, end int, match bool) {
			got = append(got, map[bool]string{true: "+", false: "-"}[match]+text[start:end])
		})
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%q: %s, want %s", text, g, want)
		}
	}
	if got := p.SafeCut([]byte("a\nb"), 1); got != 3 {
		t.Errorf("an expression that nobody knows may be cut at %d", got)
	}
	if q, err := NewPattern(`(`); err == nil {
		t.Errorf("%+v", q)
	}
}

// TestAlphabetOfGPT2 holds what the table is made of to its description: printable ASCII and Latin-1 stand for themselves, and the 68 others, in order, for
// U+0100 and what follows.
func TestAlphabetOfGPT2(t *testing.T) {
	var others []int
	for b, r := range ByteAlphabet().Spelling {
		switch {
		case b >= 0x21 && b <= 0x7E, b >= 0xA1 && b <= 0xAC, b >= 0xAE:
			if r != rune(b) {
				t.Errorf("byte %#x is spelled %q", b, r)
			}
		default:
			if r != rune(256+len(others)) {
				t.Errorf("byte %#x is spelled %q", b, r)
			}
			others = append(others, b)
		}
	}
	if len(others) != 68 || others[67] != 0xAD { // the soft hyphen, which cannot be seen
		t.Errorf("%d bytes are spelled by others, the last %#x", len(others), others[len(others)-1])
	}
}

// TestTranslateMore of what stands at an edge.
func TestTranslateMore(t *testing.T) {
	for from, want := range map[string]string{
		`\P{L}++`: `(?>\P{L}+)`, `\W++`: "(?>[^" + onigWord + "]+)", `[^\w]`: "[^" + onigWordInClass + "]", `[\W]`: "[^" + onigWordInClass + "]", `\x++`: `(?>\x+)`, `\p{^L`: `\P{L`, `?`: `?`, `+`: `+`, `a?+`: `(?>a?)`,
		`(?+a)`: `(?+a)`, `(?:a)++`: `(?>(?:a)+)`, `[[ab]]`: `[ab]`, `[^[ab]c]+`: `[^abc]+`, `)a++`: `)(?>a+)`, `\p{L`: `\p{L`, `(a[b)]c)++`: `(?>(a[b)]c)+)`, `x++y++`: `(?>x+)(?>y+)`,
	} {
		if got, err := translate(from); err != nil || got != want {
			t.Errorf("%s becomes %s, %v; want %s", from, got, err, want)
		}
	}
}
