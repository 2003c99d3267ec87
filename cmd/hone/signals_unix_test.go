//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRunsOutliveTheirScreen: a run whose output nobody reads any more goes on, and saves and leaves when its terminal closes, of which a shell may tell it
// twice.
func TestRunsOutliveTheirScreen(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(strings.Repeat("a screen goes dark\n", 20)), 0o644); err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hangUp := make(chan os.Signal, 1) // a program has a signal as by default that its parent listens to, also where tests run under nohup
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	cmd := exec.Command(self)
	cmd.Args = strings.Fields("hone pretrain data=a.txt out=run steps=10000000 model.hidden_size=8 model.num_hidden_layers=1 sequence_length=8 batch_size=1 tokenizer.vocab_size=257 threads=1 " +
		"checkpoint.every=0 checkpoint.seconds=0 checkpoint.keep_best=false") // one checkpoint, however many steps it makes until it is told
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	read.Close()
	const most = 3 * time.Minute
	alarm := time.AfterFunc(most, func() { cmd.Process.Kill() })
	for begin := time.Now(); time.Since(begin) < most; time.Sleep(time.Millisecond) {
		if metrics, _ := os.ReadFile(filepath.Join(dir, "run/metrics.jsonl")); strings.Contains(string(metrics), `"event":"step"`) {
			break
		}
	}
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Error(err)
		}
	}
	err = cmd.Wait()
	alarm.Stop()
	if saved, _ := filepath.Glob(filepath.Join(dir, "run/checkpoints/step-*")); err != nil || len(saved) != 1 {
		t.Errorf("the run ended with %v and the checkpoints %v", err, saved)
	}
}
