package curate

import (
	"strings"
	"testing"

	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
)

// TestSameIDs: documents of one name, of equal texts or not, under each policy.
func TestSameIDs(t *testing.T) {
	docs := repetitive(40)
	for i := range docs {
		docs[i].ID = strings.Repeat("x", 1+i%30) // 10 names stand twice
	}
	docs[3].ID, docs[33].ID = "", "" // but these have none
	for policy, want := range map[SameID]int64{KeepSameID: 0, SkipSameID: 9} {
		c := Config{Dir: t.TempDir(), Workers: 2, ShardBytes: 4000, SortEntries: 16, SameID: policy}
		r, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), c)
		if err != nil {
			t.Fatal(err)
		}
		left := parts(t, c.Dir)
		if r.IDs.Documents != want || len(left) != 40-int(want) || left[31] == "" != (policy == SkipSameID) || left[1] == "" || left[34] == "" {
			t.Errorf("%s: %d removed, %d left", policy, r.IDs.Documents, len(left))
		}
		if note := strings.Join(r.Notes, " "); policy == KeepSameID && !strings.Contains(note, "9 documents have the id of an earlier one, such as x at x.jsonl:1 and x.jsonl:31") {
			t.Errorf("notes %q", note)
		}
	}
	c := Config{Dir: t.TempDir(), Workers: 2, ShardBytes: 4000, SameID: FailSameID}
	_, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), c)
	if err == nil || !strings.Contains(err.Error(), "x.jsonl:1 and x.jsonl:31") || !strings.Contains(err.Error(), "on_same_id") {
		t.Errorf("error %v", err)
	}
	c.SameID = KeepSameID // another policy goes on from the same shards
	if r, err := Run(t.Context(), curatetest.Stream(nil, curatetest.GoOn), c); err != nil || r.Kept.Documents != 40 {
		t.Errorf("%+v, error %v", r, err)
	}
	c.SameID = SkipSameID // but not from what a policy made
	if _, err := Run(t.Context(), curatetest.Stream(nil, curatetest.GoOn), c); err == nil || !strings.Contains(err.Error(), "on_same_id=keep") {
		t.Errorf("error %v", err)
	}
}

// TestSameIDsTakeNothingAlong: what is left out for its name is no copy that another document could go for, or that text would be lost.
func TestSameIDsTakeNothingAlong(t *testing.T) {
	const first, second = "the first text of this name has so many words and no more", "another text of that name which has quite some words more than the first"
	near := dedup.DefaultMinHash()
	near.NGram = 2
	for name, c := range map[string]struct {
		cfg  Config
		last string
	}{
		"exact": {Config{Exact: true}, second},
		"near":  {Config{Near: &near}, strings.TrimSuffix(second, " first")}, // shorter, so that the longer would stay
	} {
		docs := curatetest.Documents([]string{first, second, c.last})
		docs[0].ID, docs[1].ID, docs[2].ID = "x", "x", "y"
		c.cfg.Dir, c.cfg.Workers, c.cfg.ShardBytes, c.cfg.SortEntries = t.TempDir(), 1, 1<<20, 16
		for policy, want := range map[SameID][]string{SkipSameID: {first, "", c.last}, KeepSameID: {first, second, ""}} {
			c.cfg.Dir, c.cfg.SameID = t.TempDir(), policy
			if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), c.cfg); err != nil {
				t.Fatal(err)
			}
			left := parts(t, c.cfg.Dir)
			for i, text := range want {
				if left[i+1] != text {
					t.Errorf("%s, %s: of document %d %q is left, want %q", name, policy, i+1, left[i+1], text)
				}
			}
		}
	}
}
