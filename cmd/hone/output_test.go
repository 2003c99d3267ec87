package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNewModelLeavesNothing: where making a folder fails, the folder is as it was, also what somebody else put into it meanwhile.
func TestNewModelLeavesNothing(t *testing.T) {
	failed := errors.New("the disk is full")
	write := func(dir, name string) {
		if err := errors.Join(os.MkdirAll(dir, 0o777), os.WriteFile(filepath.Join(dir, name), nil, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	for _, there := range []string{"", "thesis.txt", "written-meanwhile.txt"} {
		out := filepath.Join(t.TempDir(), "model")
		if there == "thesis.txt" {
			write(out, there)
		}
		err := newModel(out, func(dir string) error {
			write(dir, "model.safetensors")
			if there == "written-meanwhile.txt" {
				write(out, there)
			}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
		if got := fileNames(out); got != there {
			t.Errorf("left is %q, want %q", got, there)
		}
		write(filepath.Join(out, ".hone-unfinished"), "of a killed call")
		if err := newModel(out, func(dir string) error { write(dir, "config.json"); write(dir, "a"); write(dir, "z"); return nil }); err != nil {
			t.Error(err)
		}
		if got, want := fileNames(out), strings.Join(strings.Fields("a config.json "+there+" z"), " "); got != want {
			t.Errorf("the folder holds %q, want %q", got, want)
		}
		if err := newModel(out, func(string) error { t.Error("a model was written over"); return nil }); err == nil {
			t.Error("a folder with a model was taken")
		}
	}
}

// fileNames lists a folder; it is empty where there is none.
func fileNames(dir string) string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestOutputFails: every way to write to stdout notes the failure.
func TestOutputFails(t *testing.T) {
	for _, write := range []func(io.Writer) error{
		func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err },
		func(w io.Writer) error { _, err := io.Copy(w, strings.NewReader("x")); return err },
		func(w io.Writer) error { _, err := w.Write([]byte("x")); return err },
	} {
		file, err := os.Create(filepath.Join(t.TempDir(), "closed"))
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		out := &checked{file: file}
		if err := write(out); err == nil || out.err == nil {
			t.Errorf("writing gave %v and noted %v", err, out.err)
		}
	}
}

// TestReadAllIsInterrupted: a command that waits for a terminal ends at the first Ctrl-C.
func TestReadAllIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	cancel()
	if _, err := readAll(ctx, r, 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestReadAllIsBounded: what is too long is refused and not cut.
func TestReadAllIsBounded(t *testing.T) {
	for length, want := range map[int]string{1 << 20: "", 1<<20 + 1: "more than 1 MiB"} {
		text, err := readAll(t.Context(), strings.NewReader(strings.Repeat("x", length)), 1<<20)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && len(text) != length {
			t.Errorf("%d bytes: %d bytes, error %v", length, len(text), err)
		}
	}
}

// TestPromptly: what cannot be stopped is not waited for once the context is done, and otherwise gives what it gives.
func TestPromptly(t *testing.T) {
	failed := errors.New("no model")
	if n, err := promptly(context.Background(), func() (int, error) { return 3, failed }); n != 3 || !errors.Is(err, failed) {
		t.Errorf("got %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	begun, end := make(chan bool), make(chan bool)
	defer close(end)
	go func() { <-begun; cancel() }()
	n, err := promptly(ctx, func() (int, error) { begun <- true; <-end; return 3, nil })
	if n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %d, %v", n, err)
	}
	if _, err := promptly(ctx, func() (int, error) { t.Error("called in vain"); return 3, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted before: %v", err)
	}
}

// TestDoctorEnds when it is told to; it went on and told of a machine without Go.
func TestDoctorEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, &app{out: &out, err: &errs}, []string{"doctor"}); code != 1 || out.Len() > 0 || errs.String() != "hone: interrupted\n" {
		t.Errorf("exit code %d, %q, %q", code, out.String(), errs.String())
	}
}
