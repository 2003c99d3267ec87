package cli

import (
	"errors"
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
		err := WriteFolder(out, func(dir string) error {
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
		if err := WriteFolder(out, func(dir string) error { write(dir, "config.json"); write(dir, "a"); write(dir, "z"); return nil }); err != nil {
			t.Error(err)
		}
		if got, want := fileNames(out), strings.Join(strings.Fields("a config.json "+there+" z"), " "); got != want {
			t.Errorf("the folder holds %q, want %q", got, want)
		}
		if err := WriteFolder(out, func(string) error { t.Error("a model was written over"); return nil }); err == nil {
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
