package preference

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hone/internal/atomicfile"
	"hone/recipe"
	"hone/recipe/example"
	"hone/recipe/recipetest"
)

// TestPreferencesOnDisk: of preferences a few words are held in memory, not their tokens; nothing is left in
// the folder.
func TestPreferencesOnDisk(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 2000
	}
	from, dir := base(t), t.TempDir()
	path := filepath.Join(dir, "pairs.jsonl")
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt":"question %d","chosen":%q,"rejected":%q,"annotator":"ann"}`+"\n", i, strings.Repeat(" one two three", 20), strings.Repeat(" two three one", 20))
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	c := tinyReward(t, from, path, dir, "sequence_length=1000")
	r := c.run(recipe.Env{}.WithDefaults())
	r.Folder = recipe.Folder{Dir: dir}
	records, _, err := c.Preferences.open(t.Context(), r, (*reader).pairs, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(records.items) + len(records.held); got != n || records.items[0].tokens() < 120 {
		t.Errorf("%d of %d pairs, the first of %d tokens", got, n, records.items[0].tokens())
	}
	// What goes with the records is what they held: pools and caches of the reading come and go with the
	// collector's runs.
	heap := heapBytes()
	runtime.KeepAlive(records)
	if err := records.close(); err != nil {
		t.Error(err)
	}
	records = nil
	per := (heap - heapBytes()) / int64(n)
	t.Logf("a pair takes %d bytes", per)
	if per < 100 || per > 250 { // the answers' two slices alone are 48
		t.Errorf("a pair takes %d bytes", per)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".preferences*")); left != nil {
		t.Errorf("left: %v", left)
	}
}

// heapBytes is what is reachable: a second collection empties what pools keep for one.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMarkFile: what is taken comes back; a file that is given up is gone.
func TestMarkFile(t *testing.T) {
	dir := t.TempDir()
	want := [][][]int32{{{1, 2, 3}, {4}}, {{}, {5, 6}}, {{-7}}}
	list, f, err := onDisk(dir, func(add func(judged) error) error {
		for _, answers := range want {
			if err := add(judged{answers: slices.Clone(answers)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !slices.EqualFunc(list[i].answers, want[i], slices.Equal) {
			t.Errorf("item %d is %v", i, list[i].answers)
		}
	}
	broken := errors.New("broken")
	_, g, err := onDisk(dir, func(func(judged) error) error { return broken })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := errors.Join(f.close(), g.close()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, _, err := onDisk(filepath.Join(dir, "missing"), nil); err == nil {
		t.Error("a file was made in a folder that is not there")
	}
	killed, err := newMarkFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	killed.file.Close()
	if n, err := atomicfile.Clean(dir); n != 1 || err != nil {
		t.Errorf("%d files that a kill would leave are removed, %v", n, err)
	}
}

// TestMismatch: an item gets the answer of the nearest one before it that has another prompt, around the end
// if need be.
func TestMismatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked := rapid.SliceOfN(rapid.IntRange(0, 2), 1, 12).Draw(t, "prompts")
		var items []judged
		for i, q := range asked {
			items = append(items, judged{answers: [][]int32{recipetest.Marked([]int32{int32(q), 10, int32(100 + i)}, 2)}})
		}
		var got []int
		err := mismatch(items, 3, func(j judged) error {
			got = append(got, int(j.answers[0][2]>>1)-100)
			if !slices.Equal(j.answers[0][:2], items[len(got)-1].answers[0][:2]) {
				t.Errorf("the prompt of %d is another", len(got)-1)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, q := range asked {
			want := i
			for k := 1; k < len(asked) && want == i; k++ {
				if j := (i - k + len(asked)) % len(asked); asked[j] != q {
					want = j
				}
			}
			if got[i] != want {
				t.Errorf("%v: item %d has the answer of %d, not of %d", asked, i, got[i], want)
			}
		}
	})
}

// TestPairsOfKTO: a pair is a good and a bad answer; one that is too long is left out and counted, and one
// that cannot be used is refused, for what is wrong with the pair.
func TestPairsOfKTO(t *testing.T) {
	from, path := base(t), filepath.Join(t.TempDir(), "pairs.jsonl")
	pair := `{"prompt":%q,"chosen":"one","rejected":%q}` + "\n"
	open := func(text string) (*preferring, error) {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		r := tinyDPO(t, from, path, dir, "loss_type=kto", "validation_fraction=0", "sequence_length=20").run(recipe.Env{}.WithDefaults())
		r.Folder = recipe.Folder{Dir: dir}
		s := r.Stage.(*preferring)
		err := s.OpenData(t.Context(), r)
		t.Cleanup(func() { s.Close() })
		return s, err
	}
	s, err := open(fmt.Sprintf(pair, "one and", "two") + fmt.Sprintf(pair, strings.Repeat("one and two ", 100), "two"))
	if err != nil || len(s.records.items) != 2 || !s.records.items[0].desirable || s.records.items[1].desirable || s.records.stats.Skipped[example.LongPrompt] != 1 {
		t.Errorf("%d items, %s; %v", len(s.records.items), s.records.stats.String(), err)
	}
	for text, want := range map[string]string{fmt.Sprintf(pair, "one", "one"): "chosen and rejected are equal", fmt.Sprintf(pair, "one", ""): "an answer is empty", `{"prompt":"one"}`: "completion and label"} {
		if _, err := open(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
