package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// killCorpus writes documents with repeated lines, passages and copies, and returns their file.
func killCorpus(t *testing.T, n int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 9))
	var b bytes.Buffer
	last := ""
	for i := range n {
		text := ""
		for range 40 {
			text += fmt.Sprintf("word%d ", r.IntN(100000))
		}
		switch i % 5 {
		case 1:
			text = last
		case 2:
			text += "\nSubscribe to our newsletter and never miss what is new.\n" + text[:120]
		case 3:
			text += "and " + last
		}
		last = text
		fmt.Fprintf(&b, "{\"text\": %q, \"id\": %d}\n", text, i)
	}
	path := filepath.Join(t.TempDir(), "corpus.jsonl")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// killDocuments is how long the corpus of these tests is.
func killDocuments() int {
	if testing.Short() {
		return 1500
	}
	return 5000
}

func TestCurateSurvivesKill(t *testing.T) {
	survivesKill(t, "data", "curate", "data="+killCorpus(t, killDocuments()), "filters=mend,language,pii", "language.min_confidence=0",
		"dedup=exact,near,paragraphs,lines,substring", "shard_mib=1", "threads=2")
}

func TestMixSurvivesKill(t *testing.T) {
	survivesKill(t, "data", "mix", killCorpus(t, killDocuments())+"=3", killCorpus(t, killDocuments()/10)+"=1", "amount=12000000", "shard_mib=1")
}

// survivesKill runs a command that makes a folder: a process that is killed at any moment, without a chance to clean up, leaves one that the next goes on
// from, to the same result. The time until the kill grows until a process comes to its end.
func survivesKill(t *testing.T, args ...string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start := func(out string) *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Args = append(append([]string{"hone"}, args...), "out="+out)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	want, out, kills := filepath.Join(t.TempDir(), "want"), "", 0
	begin := time.Now()
	if err := start(want).Wait(); err != nil {
		t.Fatal(err)
	}
	for whole := time.Since(begin); kills == 0; whole /= 4 { // again, with earlier kills, where the machine was so much slower before that none came in time
		if whole < time.Millisecond {
			t.Fatal("no process was killed")
		}
		out = filepath.Join(t.TempDir(), "out")
		for after := whole / 8; ; after += whole / 4 { // the first comes soon, for the same reason
			cmd := start(out)
			alarm := time.AfterFunc(after, func() { cmd.Process.Kill() })
			err := cmd.Wait()
			alarm.Stop()
			if err == nil {
				break
			}
			if kills++; kills > 100 {
				t.Fatal("killed processes come to no end")
			}
		}
	}
	parts, err := filepath.Glob(filepath.Join(want, "*"))
	if err != nil || len(parts) < 4 {
		t.Fatalf("%v, %v", parts, err)
	}
	for _, path := range parts {
		name := filepath.Base(path)
		a, errA := os.ReadFile(path)
		b, errB := os.ReadFile(filepath.Join(out, name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) && name != "recipe.yaml" && name != "report.html" {
			t.Errorf("after %d kills %s is another (%v, %v)", kills, name, errA, errB)
		}
	}
	if left, err := os.ReadDir(filepath.Join(out, "work")); err == nil {
		t.Errorf("work is left behind: %v", left)
	}
}
