package train

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/device"
)

func plenty() int64 { return 1 << 40 }

// TestCheckpointHoldsItsMoment: a checkpoint whose files are written after further steps holds the state of
// when it was due.
func TestCheckpointHoldsItsMoment(t *testing.T) {
	dir := t.TempDir()
	m := newToy(t, device.BF16, 1)
	r := openToy(t, dir, m, func(l *Loop) { l.Steps, l.Checkpoints.Room = 5, plenty })
	r.run(t)
	want := m.bits(t)
	state := r.state
	state.Updates = m.opt.Updates()
	finish, err := r.Checkpoints.begin(state, m.opt)
	if err != nil {
		t.Fatal(err)
	}
	r.Steps = 7
	for r.state.Step < r.Steps {
		if err := r.once(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if cmp.Equal(want, m.bits(t)) {
		t.Fatal("the steps in between changed nothing")
	}
	if _, err := finish(); err != nil {
		t.Fatal(err)
	}
	if newest := r.Checkpoints.Newest(); newest != 5 {
		t.Fatalf("the newest checkpoint is of step %d, want 5", newest)
	}
	again := newToy(t, device.BF16, 1)
	openToy(t, dir, again, nil)
	if diff := cmp.Diff(want, again.bits(t)); diff != "" {
		t.Error(diff)
	}
}

// TestResumeFromBackground: a run whose checkpoints are written beside it goes on bit for bit, also
// where there is no room for copies.
func TestResumeFromBackground(t *testing.T) {
	whole := t.TempDir()
	a := openToy(t, whole, newToy(t, device.F32, 1), nil)
	a.run(t)
	for name, room := range map[string]func() int64{"room": plenty, "none": func() int64 { return 0 }} {
		dir := t.TempDir()
		openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
			l.Steps, l.Checkpoints.Room, l.Checkpoints.Every, l.Checkpoints.KeepLast = 7, room, 1, 2
		}).run(t)
		b := openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) { l.Checkpoints.Room = room })
		if b.Step() != 7 {
			t.Fatalf("%s: resumed at step %d, want 7", name, b.Step())
		}
		b.run(t)
		if diff := cmp.Diff(a.bits(t), b.bits(t)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		written := 0
		events, err := readMetrics(filepath.Join(dir, "metrics.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if c, ok := e.(CheckpointEvent); ok {
				written++
				if c.Bytes == 0 || c.Path == "" {
					t.Errorf("%s: the event says %+v", name, c)
				}
			}
		}
		if written != 8 {
			t.Errorf("%s: %d checkpoints are told of, want 8", name, written)
		}
	}
}

// TestBackgroundFailureStops: that a checkpoint could not be written is the run's error, and nothing half
// written is left.
func TestBackgroundFailureStops(t *testing.T) {
	dir := t.TempDir()
	r := openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
		l.Checkpoints.Room, l.Checkpoints.Every = plenty, 4
		l.Checkpoints.Extra = func(temp string) error { // the file that the weights are to become is a folder
			return os.MkdirAll(filepath.Join(temp, "model.safetensors", "in the way"), 0o755)
		}
	})
	_, err := r.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "save "+r.Checkpoints.Path(4)) {
		t.Errorf("the error is %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
