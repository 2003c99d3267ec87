package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestNewModelLeavesNothing: where making a folder fails, what it left goes, and what was there before stays.
func TestNewModelLeavesNothing(t *testing.T) {
	failed := errors.New("the disk is full")
	for _, there := range []bool{false, true} {
		out := filepath.Join(t.TempDir(), "model")
		write := func(name string) {
			if err := errors.Join(os.MkdirAll(out, 0o777), os.WriteFile(filepath.Join(out, name), nil, 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		if there {
			write("thesis.txt")
		}
		err := newModel(out, func() error {
			write("model.safetensors")
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
		names, missing := files(out)
		if missing == there || len(names) > 0 && !there || there && (len(names) != 1 || names[0] != "thesis.txt") {
			t.Errorf("with a folder %v: left are %v", there, names)
		}
		if err := newModel(out, func() error { write("config.json"); return nil }); err != nil {
			t.Error(err)
		}
		if err := newModel(out, func() error { t.Error("a model was written over"); return nil }); err == nil {
			t.Error("a folder with a model was taken")
		}
	}
}

// TestReadAllIsInterrupted: a command that waits for a terminal ends at the first Ctrl-C.
func TestReadAllIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	cancel()
	if _, err := readAll(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
