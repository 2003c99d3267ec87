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

// TestFolderOfTwo: a call beside another in the same folder is refused. It would take the first one's files for those of a killed call, and the folder
// would be left without weights.
func TestFolderOfTwo(t *testing.T) {
	out := filepath.Join(t.TempDir(), "model")
	err := WriteFolder(out, func(dir string) error {
		err := os.WriteFile(filepath.Join(dir, "model.safetensors"), nil, 0o666)
		second := WriteFolder(out, func(string) error { return errors.New("stopped") })
		if second == nil || second.Error() != "another program writes to "+out+"; wait for its end, or name another folder as out" {
			t.Errorf("the second: %v", second)
		}
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "config.json"), nil, 0o666))
	})
	if got := fileNames(out); err != nil || got != "config.json model.safetensors" {
		t.Errorf("the folder holds %q, %v", got, err)
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
