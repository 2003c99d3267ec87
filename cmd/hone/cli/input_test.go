package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestReadAllIsInterrupted: a command that waits for a terminal ends at the first Ctrl-C.
func TestReadAllIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	cancel()
	if _, err := ReadAll(ctx, r, 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestReadAllIsBounded: what is too long is refused and not cut.
func TestReadAllIsBounded(t *testing.T) {
	for length, want := range map[int]string{1 << 20: "", 1<<20 + 1: "more than 1 MiB"} {
		text, err := ReadAll(t.Context(), strings.NewReader(strings.Repeat("x", length)), 1<<20)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && len(text) != length {
			t.Errorf("%d bytes: %d bytes, error %v", length, len(text), err)
		}
	}
}

// TestPromptly: what cannot be stopped is not waited for once the context is done, and otherwise gives what it gives.
func TestPromptly(t *testing.T) {
	failed := errors.New("no model")
	if n, err := Promptly(context.Background(), func() (int, error) { return 3, failed }); n != 3 || !errors.Is(err, failed) {
		t.Errorf("got %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	begun, end := make(chan bool), make(chan bool)
	defer close(end)
	go func() { <-begun; cancel() }()
	n, err := Promptly(ctx, func() (int, error) { begun <- true; <-end; return 3, nil })
	if n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %d, %v", n, err)
	}
	if _, err := Promptly(ctx, func() (int, error) { t.Error("called in vain"); return 3, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted before: %v", err)
	}
}
