package label

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func openStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "a store.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func prompt(text string) json.RawMessage { b, _ := json.Marshal(text); return b }

// fill adds n prompts with answers "a1", "b1" and so on.
func fill(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		p := Pair{Prompt: prompt(fmt.Sprint("prompt ", i+1)), Answers: [2]Answer{{fmt.Sprint("a", i+1), "one"}, {fmt.Sprint("b", i+1), "two"}}}
		if added, err := s.AddPairs(t.Context(), []Pair{p}); err != nil || added != 1 {
			t.Fatal(added, err)
		}
	}
}

func TestStoreGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "labels.sqlite")
	for round := range 2 {
		s, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		added, err := s.AddPrompts(t.Context(), []json.RawMessage{prompt("x"), prompt("y"), prompt("x")})
		if err != nil || added != 2*(1-round) {
			t.Errorf("round %d: %d prompts were new, error %v", round, added, err)
		}
		todo, err := s.Unanswered(t.Context(), 10)
		if err != nil || len(todo) != 2-round {
			t.Fatalf("round %d: %d prompts are without answers, error %v", round, len(todo), err)
		}
		todo[0].Answers = [2]Answer{{Text: "one"}, {Text: "two"}}
		if err := s.SetAnswers(t.Context(), todo[:1]); err != nil {
			t.Fatal(err)
		}
		p, err := s.Next(t.Context(), "ann", 0)
		if err != nil || p == nil {
			t.Fatalf("round %d: no pair to judge: %v", round, err)
		}
		if err := s.Judge(t.Context(), Judgement{Pair: p.ID, Annotator: "ann", Verdict: A, Left: B, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if all, err := s.Judgements(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d judgements, error %v", len(all), err)
	}
}

func TestAlikeAnswersAreNotShown(t *testing.T) {
	s := openStore(t)
	pairs := []Pair{
		{Prompt: prompt("1"), Answers: [2]Answer{{Text: "same "}, {Text: "same"}}},
		{Prompt: prompt("2"), Answers: [2]Answer{{Text: ""}, {Text: " "}}},
		{Prompt: prompt("3"), Answers: [2]Answer{{Text: ""}, {Text: "words"}}}, // hone reward and hone dpo would refuse what is made of it
		{Prompt: prompt("4"), Answers: [2]Answer{{Text: "words"}, {Text: "\n"}}},
		{Prompt: prompt("5"), Answers: [2]Answer{{Text: "other"}, {Text: "words"}}},
	}
	if _, err := s.AddPairs(t.Context(), pairs); err != nil {
		t.Fatal(err)
	}
	p, err := s.Next(t.Context(), "ann", 0)
	if err != nil || p == nil || string(p.Prompt) != `"5"` {
		t.Fatalf("next is %v, error %v", p, err)
	}
	progress, err := s.Progress(t.Context(), "ann")
	if err != nil || progress.LeftOut != 4 || progress.Ready != 1 {
		t.Errorf("%+v, error %v", progress, err)
	}
	if err := s.Judge(t.Context(), Judgement{Pair: 1, Annotator: "ann", Verdict: A, Left: A}); err == nil || errors.Is(err, ErrJudged) {
		t.Errorf("a pair that is not shown was judged: %v", err)
	}
}

// TestOldStores: pairs that a store from before the rule shows are left out when it is opened, once, and so is what was said of them.
func TestOldStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.sqlite")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	texts := [][2]string{{"", "words"}, {"words", "\u3000\n\u00a0"}, {" same", "same\u2003"}, {"a", "b"}, {"c\u200b", "c"}}
	for i, a := range texts {
		if _, err := s.AddPairs(t.Context(), []Pair{{Prompt: prompt(fmt.Sprint(i)), Answers: [2]Answer{{Text: a[0]}, {Text: a[1]}}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddPrompts(t.Context(), []json.RawMessage{prompt("not answered yet")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.ExecContext(t.Context(), "UPDATE pairs SET left_out = ''; PRAGMA user_version = 0"); err != nil {
		t.Fatal(err)
	}
	for pair, v := range []Verdict{B, Tie, A, B, Skip} {
		if err := s.Judge(t.Context(), Judgement{Pair: int64(pair + 1), Annotator: "ann", Verdict: v, Left: A}); err != nil {
			t.Fatal(err)
		}
	}
	for pair, v := range map[int64]Verdict{1: A, 4: B} { // another than ann's of a pair that will be left out, the same of one that is shown
		if err := s.Judge(t.Context(), Judgement{Pair: pair, Annotator: "bo", Verdict: v, Left: A}); err != nil {
			t.Fatal(err)
		}
	}
	for _, again := range []bool{false, true} {
		s.Close()
		if s, err = Open(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if again { // not a second time: the rule is that of new answers
			break
		}
		var out bytes.Buffer
		p, err := s.Progress(t.Context(), "ann")
		done, exportErr := s.Export(t.Context(), &out)
		if err != nil || p.Ready != 2 || p.LeftOut != 3 || p.Done != 2 || p.Waiting != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		if want := (Agreement{Annotators: 2, Shared: 1, Percent: 100}); p.Agreement != want {
			t.Errorf("of pairs that are shown people agree as %+v, want %+v", p.Agreement, want)
		}
		if exportErr != nil || done.Written != 2 || done.LeftOut[Unusable] != 3 || done.LeftOut[Tie] != 1 || done.LeftOut[Skip] != 1 || !strings.Contains(out.String(), `"chosen":"b"`) {
			t.Errorf("%+v, %v: %s", done, exportErr, out.String())
		}
		if _, err := s.db.ExecContext(t.Context(), "UPDATE pairs SET left_out = '' WHERE id = 1"); err != nil {
			t.Fatal(err)
		}
	}
	defer s.Close()
	if p, err := s.Progress(t.Context(), ""); err != nil || p.Ready != 3 {
		t.Errorf("opened again: %+v, %v", p, err)
	}
	for _, want := range []int64{5, 4, 1} { // not what was said of a pair that nobody is shown again
		if j, err := s.Undo(t.Context(), "ann"); err != nil || j == nil || j.Pair != want {
			t.Errorf("taken back is %+v, %v; want pair %d", j, err, want)
		}
	}
	if j, err := s.Undo(t.Context(), "ann"); j != nil || err != nil {
		t.Errorf("taken back is %+v, %v", j, err)
	}
}

func TestUndoAndTwice(t *testing.T) {
	s := openStore(t)
	fill(t, s, 2)
	judge := func(pair int64, who string) error {
		return s.Judge(t.Context(), Judgement{Pair: pair, Annotator: who, Verdict: B, Left: A, At: time.Now()})
	}
	for _, who := range []string{"ann", "bob"} {
		if err := judge(1, who); err != nil {
			t.Fatal(err)
		}
	}
	if err := judge(1, "ann"); !errors.Is(err, ErrJudged) {
		t.Errorf("judging twice gives %v", err)
	}
	if j, err := s.Undo(t.Context(), "ann"); err != nil || j == nil || j.Pair != 1 {
		t.Errorf("undo gives %+v, error %v", j, err)
	}
	if j, err := s.Undo(t.Context(), "ann"); j != nil || err != nil {
		t.Errorf("undo of nothing gives %+v, error %v", j, err)
	}
	if p, err := s.Next(t.Context(), "ann", 0); err != nil || p.ID != 1 {
		t.Errorf("what was undone does not come again: %v %v", p, err)
	}
	if err := judge(1, "ann"); err != nil {
		t.Error(err)
	}
	if all, _ := s.Judgements(t.Context()); len(all) != 2 {
		t.Errorf("%d judgements stand, want those of two annotators", len(all))
	}
}

// TestManyTabs lets several tabs of one annotator judge everything at once: each pair is judged once.
func TestManyTabs(t *testing.T) {
	s := openStore(t)
	fill(t, s, 20)
	var wg sync.WaitGroup
	kept := make(chan int64, 100)
	for range 4 {
		wg.Go(func() {
			for pair := range int64(20) {
				err := s.Judge(context.Background(), Judgement{Pair: pair + 1, Annotator: "ann", Verdict: Tie, Left: A, At: time.Now()})
				switch {
				case err == nil:
					kept <- pair
				case !errors.Is(err, ErrJudged):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(kept) != 20 {
		t.Errorf("%d judgements of 20 pairs", len(kept))
	}
}

func TestLeftIsEven(t *testing.T) {
	left, differ := 0, 0
	for pair := range int64(1000) {
		if Left(pair, "ann") == A {
			left++
		}
		if Left(pair, "ann") != Left(pair, "bob") {
			differ++
		}
	}
	if left < 450 || left > 550 {
		t.Errorf("answer A stands on the left %d times of 1000", left)
	}
	if differ < 450 || differ > 550 {
		t.Errorf("two annotators see different sides %d times of 1000", differ)
	}
}

func TestExport(t *testing.T) {
	s := openStore(t)
	fill(t, s, 3)
	chatPair := Pair{Prompt: json.RawMessage(`[{"role":"user","content":"hi"}]`), Answers: [2]Answer{{Text: "<b>"}, {Text: "x"}}}
	if _, err := s.AddPairs(t.Context(), []Pair{chatPair}); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, v := range []Verdict{A, Tie, B, A} { // from the last pair, after an undo or two for instance: the export has them in order
		if err := s.Judge(t.Context(), Judgement{Pair: int64(4 - i), Annotator: "ann", Verdict: v, Left: A, At: at, Comment: "why"}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	done, err := s.Export(t.Context(), &out)
	if err != nil || done.Written != 3 || done.LeftOut[Tie] != 1 {
		t.Fatalf("%+v, error %v", done, err)
	}
	tail := `"seconds":0,"at":"2026-01-02T03:04:05Z",`
	want := []string{
		`{"prompt":"prompt 1","chosen":"a1","rejected":"b1","annotator":"ann","comment":"why","chosen_source":"one","rejected_source":"two","left":"chosen",` + tail + `"pair":1}`,
		`{"prompt":"prompt 2","chosen":"b2","rejected":"a2","annotator":"ann","comment":"why","chosen_source":"two","rejected_source":"one","left":"rejected",` + tail + `"pair":2}`,
		`{"prompt":[{"role":"user","content":"hi"}],"chosen":[{"role":"assistant","content":"<b>"}],"rejected":[{"role":"assistant","content":"x"}],"annotator":"ann","comment":"why","left":"chosen",` + tail + `"pair":4}`,
	}
	if got := strings.TrimSpace(out.String()); got != strings.Join(want, "\n") {
		t.Errorf("export:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// TestTwoProgramsOneStore: what one adds the other sees, and neither loses a verdict while both write.
func TestTwoProgramsOneStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.sqlite")
	var stores [2]*Store
	for i := range stores {
		s, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		stores[i] = s
	}
	fill(t, stores[0], 10)
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			for pair := range int64(10) {
				if err := s.Judge(context.Background(), Judgement{Pair: pair + 1, Annotator: fmt.Sprint("person ", i), Verdict: A, Left: B}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, s := range stores {
		if all, err := s.Judgements(t.Context()); err != nil || len(all) != 20 {
			t.Errorf("%d verdicts of 20, %v", len(all), err)
		}
	}
}

// TestAnswersStay: of two programs that answer one prompt the first is kept, on which a verdict may stand.
func TestAnswersStay(t *testing.T) {
	s := openStore(t)
	if _, err := s.AddPrompts(t.Context(), []json.RawMessage{prompt("q")}); err != nil {
		t.Fatal(err)
	}
	first, err := s.Unanswered(t.Context(), 1)
	second, err2 := s.Unanswered(t.Context(), 1)
	if err := errors.Join(err, err2); err != nil || len(first) != 1 || len(second) != 1 {
		t.Fatal(first, second, err)
	}
	first[0].Answers, second[0].Answers = [2]Answer{{"good", "one"}, {"bad", "one"}}, [2]Answer{{"worse", "two"}, {"better", "two"}}
	if err := errors.Join(s.SetAnswers(t.Context(), first), s.Judge(t.Context(), Judgement{Pair: first[0].ID, Annotator: "ann", Verdict: A, Left: A}), s.SetAnswers(t.Context(), second)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := s.Export(t.Context(), &out); err != nil || !strings.Contains(out.String(), `"chosen":"good","rejected":"bad"`) {
		t.Errorf("the verdict is now %s, %v", out.String(), err)
	}
}

// TestStoreRefuses: files that are no store, and verdicts that no page sends.
func TestStoreRefuses(t *testing.T) {
	dir := t.TempDir()
	text, other := filepath.Join(dir, "text.sqlite"), filepath.Join(dir, "missing", "l.sqlite")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database, but long enough to look at. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, dir, other} {
		if s, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, error %v", path, s, err)
		}
	}
	s := openStore(t)
	fill(t, s, 1)
	for _, j := range []Judgement{{Pair: 1, Annotator: "ann", Verdict: "best", Left: A}, {Pair: 1, Annotator: "ann", Verdict: A, Left: Tie}, {Pair: 1, Annotator: "ann"}} {
		if err := s.Judge(t.Context(), j); err == nil || errors.Is(err, ErrJudged) || errors.Is(err, ErrNoPair) {
			t.Errorf("%+v: error %v", j, err)
		}
	}
	for _, pair := range []int64{0, 2, -1} {
		if err := s.Judge(t.Context(), Judgement{Pair: pair, Annotator: "ann", Verdict: A, Left: A}); !errors.Is(err, ErrNoPair) {
			t.Errorf("pair %d: error %v", pair, err)
		}
	}
	if all, err := s.Judgements(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("kept %+v, %v", all, err)
	}
}

// TestAnswersComeInOrder: prompts wait in the order in which they were added, a few at a time; a pair is its prompt and both answers.
func TestAnswersComeInOrder(t *testing.T) {
	s := openStore(t)
	if n, err := s.AddPrompts(t.Context(), []json.RawMessage{prompt("c"), prompt("a"), prompt("b"), prompt("a")}); err != nil || n != 3 {
		t.Fatalf("%d prompts, %v", n, err)
	}
	todo, err := s.Unanswered(t.Context(), 2)
	if err != nil || len(todo) != 2 || string(todo[0].Prompt) != `"c"` || string(todo[1].Prompt) != `"a"` {
		t.Fatalf("%v, %v", todo, err)
	}
	todo[0].Answers, todo[1].Answers = [2]Answer{{"x", "one"}, {"y", "two"}}, [2]Answer{{"same", ""}, {" same", ""}}
	if err := s.SetAnswers(t.Context(), todo); err != nil {
		t.Fatal(err)
	}
	rest, err := s.Unanswered(t.Context(), 9)
	p, nextErr := s.Next(t.Context(), "ann", 0)
	if err := errors.Join(err, nextErr); err != nil || len(rest) != 1 || string(rest[0].Prompt) != `"b"` || p == nil || p.Answers != todo[0].Answers {
		t.Errorf("%v wait, next is %+v, %v", rest, p, err)
	}
	pair := func(a, b string) Pair { return Pair{Prompt: prompt("c"), Answers: [2]Answer{{Text: a}, {Text: b}}} }
	if n, err := s.AddPairs(t.Context(), []Pair{pair("x", "y"), pair("y", "x"), pair("x", "y")}); err != nil || n != 2 {
		t.Errorf("%d pairs are new, %v", n, err)
	}
}

// TestVerdictsAreSynced: a commit is on the disk before it returns, so that not even a power cut loses a verdict.
func TestVerdictsAreSynced(t *testing.T) {
	level := 0
	if err := openStore(t).db.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&level); err != nil || level != 2 {
		t.Errorf("synchronous is %d, want 2, FULL (%v)", level, err)
	}
}
