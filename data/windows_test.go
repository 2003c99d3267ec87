package data

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hone/internal/splitmix"
)

func TestPermuteIsABijection(t *testing.T) {
	for n := int64(1); n < 300; n++ {
		for k := range uint64(3) {
			seen := make([]bool, n)
			for i := range n {
				p := permute(splitmix.At(k), n, i)
				if p < 0 || p >= n || seen[p] {
					t.Fatalf("n=%d: %d goes to %d, outside or twice", n, i, p)
				}
				seen[p] = true
			}
		}
	}
}

// TestPermuteKeepsItsOrder: a run that is resumed by a later build must see its data in the same order.
func TestPermuteKeepsItsOrder(t *testing.T) {
	var order []int64
	for i := range int64(10) {
		order = append(order, permute(key(1, 2), 10, i))
	}
	if diff := cmp.Diff([]int64{6, 9, 3, 4, 0, 1, 7, 2, 5, 8}, order); diff != "" {
		t.Error(diff)
	}
	if got := permute(key(3), 1<<40, 12345); got != 6408639037 {
		t.Errorf("of many: %d", got)
	}
}

// Every value of a small permutation must be about equally likely at every place, over the keys.
func TestPermuteIsUniform(t *testing.T) {
	const n, keys = 7, 20000
	var counts [n][n]float64
	for k := range uint64(keys) {
		for i := range int64(n) {
			counts[i][permute(key(k), n, i)]++
		}
	}
	for i := range counts {
		chi := 0.0
		for _, c := range counts[i] {
			chi += (c - keys/n) * (c - keys/n) / (keys / n)
		}
		if chi > 25 { // 6 degrees of freedom: p < 0.0004
			t.Errorf("place %d: chi square %.1f of %v", i, chi, counts[i])
		}
	}
}

func mustMix(t testing.TB, cfg MixtureConfig, sources ...Weighted) *Mixture {
	t.Helper()
	m, err := NewMixture(cfg, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func cut(s *Store, length int) *Windows { return &Windows{s, length} }

// sequences splits a batch into its sequences of (id, target, position) triples.
func sequences(b Batch) [][][3]int32 {
	var out [][][3]int32
	for s := range len(b.Offsets) - 1 {
		var seq [][3]int32
		for r := b.Offsets[s]; r < b.Offsets[s+1]; r++ {
			seq = append(seq, [3]int32{b.IDs[r], b.Targets[r], b.Positions[r]})
		}
		out = append(out, seq)
	}
	return out
}

func all(batches []Batch) [][][3]int32 {
	var out [][][3]int32
	for _, b := range batches {
		out = append(out, sequences(b)...)
	}
	return out
}

func TestWindowByHand(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), "abcd", "e", "fgh") // abcd. e. fgh.
	var got [][][3]int32
	for b := range Sequential(cut(s, 6), 1, 0) {
		got = append(got, sequences(b)...)
	}
	const e, no = endMark, Ignore
	want := [][][3]int32{
		{{'a', 'b', 0}, {'b', 'c', 1}, {'c', 'd', 2}, {'d', e, 3}, {e, no, 4}},
		{{'e', e, 0}}, // its target lies behind the window
		{{e, no, 0}},
		{{'f', 'g', 0}, {'g', 'h', 1}, {'h', e, 2}, {e, no, 3}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// genStore draws a small store of several shards. Tokens are unique within a store as far as possible.
func genStore(t *rapid.T, dir string) *Store {
	lengths := rapid.SliceOfN(rapid.IntRange(2, 40), 1, 30).Draw(t, "lengths")
	perShard := rapid.IntRange(1, 8).Draw(t, "documents per shard")
	var names []string
	id := int32(0)
	for at := 0; at < len(lengths); at += perShard {
		c := shardContent{vocab: 1 << 17}
		for _, n := range lengths[at:min(at+perShard, len(lengths))] {
			for range n {
				c.ids = append(c.ids, id)
				id++
			}
			c.ends = append(c.ends, int64(len(c.ids)))
			c.textBytes += int64(n)
		}
		name := fmt.Sprint("s", len(names))
		if err := c.write(dir, name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	s, err := OpenStore(dir, names)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// In an epoch each token is predicted once from the token before it, but for the first of each document, which is only ever
// an input; no row repeats.
func TestEpochSeesEachTokenOnce(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		s := genStore(rt, dir)
		defer s.Close()
		windows := cut(s, rapid.IntRange(2, 50).Draw(rt, "L"))
		w := mustMix(t, MixtureConfig{BatchSize: 1, Seed: rapid.Uint64().Draw(rt, "seed")}, Weighted{windows, 1})
		epoch := rapid.IntRange(0, 3).Draw(rt, "epoch")
		inputs, targets := map[int32]int{}, map[int32]int{}
		for step := range int(w.PerEpoch()) {
			for _, b := range w.Step(epoch*int(w.PerEpoch()) + step) {
				if b.Tokens < 1 || b.Tokens != b.Supervised() {
					rt.Fatalf("Tokens %d, supervised %d", b.Tokens, b.Supervised())
				}
				for r, id := range b.IDs {
					inputs[id]++
					if b.Targets[r] == Ignore {
						continue
					}
					targets[b.Targets[r]]++
					if b.Targets[r] != id+1 {
						rt.Fatalf("%d predicts %d", id, b.Targets[r])
					}
				}
			}
		}
		last := int32(s.Tokens()) - 1
		for d := range s.Documents() {
			from, to := s.Document(d)
			for id := int32(from); id < int32(to); id++ {
				first := 0
				if int64(id) > from {
					first = 1
				}
				if targets[id] != first || (inputs[id] != 1 && (id != last || inputs[id] > 1)) {
					rt.Fatalf("token %d: %d times an input, %d times a target", id, inputs[id], targets[id])
				}
			}
		}
	})
}

// Accumulation, micro-batch and ranks only cut the same stream in other places.
func TestEquivalentBatches(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		s := genStore(rt, dir)
		defer s.Close()
		b := rapid.IntRange(1, 4).Draw(rt, "B")
		a := rapid.IntRange(1, 4).Draw(rt, "A")
		ranks := rapid.IntRange(1, 4).Draw(rt, "R")
		step := rapid.IntRange(0, 50).Draw(rt, "step")
		windows := cut(s, rapid.IntRange(2, 30).Draw(rt, "L"))
		cfg := MixtureConfig{BatchSize: a * b * ranks, Seed: 9}
		one := mustMix(t, cfg, Weighted{windows, 1}).Step(step)
		cfg.BatchSize, cfg.Accumulation, cfg.Ranks = b, a, ranks
		micro := make([][]Batch, ranks)
		for r := range micro {
			cfg.Rank = r
			micro[r] = mustMix(t, cfg, Weighted{windows, 1}).Step(step)
		}
		var parts []Batch
		for i := range a {
			for r := range ranks {
				parts = append(parts, micro[r][i])
				if micro[r][i].Tokens != one[0].Tokens {
					rt.Fatalf("rank %d normalises by %d tokens, one rank by %d", r, micro[r][i].Tokens, one[0].Tokens)
				}
			}
		}
		if diff := cmp.Diff(all(one), all(parts)); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestStepsDependOnSeedAndStepOnly(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), randomTexts(200, 6)...)
	cfg := MixtureConfig{BatchSize: 3, Accumulation: 2, Seed: 1}
	run := func(from, n int) []Batch {
		w := mustMix(t, cfg, Weighted{cut(s, 16), 1})
		var out []Batch
		for i := range n {
			out = append(out, w.Step(from+i)...)
		}
		return out
	}
	whole := run(0, 600) // several epochs
	if diff := cmp.Diff(whole[2*417:], run(417, 183)); diff != "" {
		t.Error("a resumed run sees other batches:", diff)
	}
	cfg.Seed = 2
	if cmp.Equal(whole[:10], run(0, 5)) {
		t.Error("the seed changes nothing")
	}
	w := mustMix(t, cfg, Weighted{cut(s, 16), 1})
	for g := range w.PerEpoch() {
		if _, a := w.unit(g); g > 0 {
			if _, b := w.unit(w.PerEpoch() + g); a != b {
				return
			}
		}
	}
	t.Error("two epochs have the same order")
}

func TestMixture(t *testing.T) {
	var sources []Weighted
	for i, weight := range []float64{6, 3, 1} {
		cfg := byteConfig(t.TempDir())
		s, _ := buildTest(t, cfg, randomTexts(30+20*i, uint64(i))...)
		sources = append(sources, Weighted{cut(s, 16), weight})
	}
	w := mustMix(t, MixtureConfig{BatchSize: 1, Seed: 3}, sources...)
	type place struct {
		source int
		unit   int64
	}
	which := map[Units]int{}
	for i, s := range sources {
		which[s.Units] = i
	}
	seen := map[place]int{}
	var counts [3]int64
	var early [3]int64
	const blocks = 20
	for g := range int64(blocks * mixSlots) {
		u, at := w.unit(g)
		i := which[u]
		counts[i]++
		seen[place{i, at}]++
		if g < 200 {
			early[i]++
		}
	}
	for i, weight := range []float64{0.6, 0.3, 0.1} {
		if got := float64(counts[i]) / (blocks * mixSlots); math.Abs(got-weight) > 1.0/mixSlots {
			t.Errorf("source %d got a share of %v, want %v", i, got, weight)
		}
		if got := float64(early[i]); math.Abs(got-200*weight) > 2 {
			t.Errorf("source %d got %v of the first 200 windows, want %v", i, got, 200*weight)
		}
		epochs := counts[i] / w.sources[i].count
		for at := range w.sources[i].count {
			if n := int64(seen[place{i, at}]); n < epochs || n > epochs+2 {
				t.Fatalf("source %d, window %d came %d times in %d epochs", i, at, n, epochs)
			}
		}
	}
}

// TestMixedEpochs: of sources that are far smaller than a block of turns each unit comes once before any comes again, and at no point has one more or less
// than its share.
func TestMixedEpochs(t *testing.T) {
	var sources []Weighted
	index, counts, sum := map[Units]int{}, []float64{}, 0.0
	for i, bytes := range []int{799, 79, 319} { // and the mark of the end: 100, 10 and 40 windows
		s, _ := buildTest(t, byteConfig(t.TempDir()), strings.Repeat("x", bytes))
		windows := cut(s, 8)
		index[windows] = i
		counts, sum = append(counts, float64(windows.Count())), sum+float64(windows.Count())
		sources = append(sources, Weighted{windows, counts[i]})
	}
	m := mustMix(t, MixtureConfig{BatchSize: 1, Seed: 5}, sources...)
	seen := []map[int64]int{{}, {}, {}}
	gave := make([]float64, len(sources))
	for g := range 4 * m.PerEpoch() {
		u, at := m.unit(g)
		i := index[u]
		if before := seen[i][at]; before != int(gave[i]/counts[i]) {
			t.Fatalf("unit %d of source %d came %d times before, and the source gave %v of %v", at, i, before, gave[i], counts[i])
		}
		seen[i][at]++
		gave[i]++
		if n := m.Until(i, int64(gave[i])); n != g+1 {
			t.Fatalf("source %d gave %v units after %d, not %d", i, gave[i], g+1, n)
		}
		for i := range counts {
			if due := float64(g+1) * counts[i] / sum; math.Abs(gave[i]-due) > 1.5 {
				t.Fatalf("source %d gave %v of %d units, want about %.1f", i, gave[i], g+1, due)
			}
		}
	}
}

// TestUntil: also behind the first block of turns, and of a single source.
func TestUntil(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), strings.Repeat("x", 799))
	m := mustMix(t, MixtureConfig{BatchSize: 1}, Weighted{cut(s, 8), 0.3}, Weighted{cut(s, 4), 0.7})
	gave := map[Units]int64{}
	for g := range int64(3 * mixSlots) {
		u, _ := m.unit(g)
		gave[u]++
		i := slices.IndexFunc(m.sources, func(s source) bool { return s.units == u })
		if n := m.Until(i, gave[u]); n != g+1 {
			t.Fatalf("source %d gave %d units after %d, not %d", i, gave[u], g+1, n)
		}
	}
	one := mustMix(t, MixtureConfig{BatchSize: 3}, Weighted{cut(s, 8), 5})
	if m.Until(0, 0) != 0 || one.Until(0, 1) != 1 || one.Until(0, 257) != 257 {
		t.Errorf("%d, %d, %d", m.Until(0, 0), one.Until(0, 1), one.Until(0, 257))
	}
}

func TestMixtureExtremes(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), "some text")
	w := mustMix(t, MixtureConfig{BatchSize: 1}, Weighted{cut(s, 4), 1e-9}, Weighted{cut(s, 4), 1}, Weighted{cut(s, 4), 1e-9})
	sum := int64(0)
	for _, src := range w.sources {
		sum += src.slots
		if src.slots < 1 {
			t.Error("a source has no share")
		}
	}
	if sum != mixSlots {
		t.Errorf("%d slots, want %d", sum, mixSlots)
	}
	w = mustMix(t, MixtureConfig{BatchSize: 1}, Weighted{cut(s, 4), 3}, Weighted{cut(s, 4), 4}, Weighted{cut(s, 4), 3}) // 1228.8, 1638.4 and 1228.8 of 4096
	if a, b, c := w.sources[0].slots, w.sources[1].slots, w.sources[2].slots; a != 1229 || b != 1638 || c != 1229 {
		t.Errorf("the block is dealt out as %d, %d and %d", a, b, c)
	}
	for _, weight := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := NewMixture(MixtureConfig{BatchSize: 1}, Weighted{cut(s, 4), weight}, Weighted{cut(s, 4), 1}); err == nil {
			t.Errorf("weight %v was accepted", weight)
		}
	}
}

func TestSequentialBound(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), randomTexts(50, 7)...)
	rows := 0
	for b := range Sequential(cut(s, 16), 4, 100) {
		rows += b.Rows()
	}
	if rows < 100 || rows > 100+16 {
		t.Errorf("%d rows, want about 100", rows)
	}
	supervised := 0
	for b := range Sequential(cut(s, 1000000), 4, 0) {
		supervised += b.Tokens
	}
	if int64(supervised) != s.Supervised() {
		t.Errorf("%d tokens predicted, want %d", supervised, s.Supervised())
	}
}

func BenchmarkStep(b *testing.B) {
	s, _ := buildTest(b, byteConfig(b.TempDir()), randomTexts(20000, 8)...)
	w := mustMix(b, MixtureConfig{BatchSize: 16}, Weighted{cut(s, 512), 1})
	b.ReportAllocs()
	for step := 0; b.Loop(); step++ {
		w.Step(step)
	}
}
