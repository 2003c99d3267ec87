package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadConfigSaysWhatItIs gives paths that are no model folder.
func TestReadConfigSaysWhatItIs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "nothing"), "there is no such folder"},
		{write("m.gguf", "GGUF"), "hone import"},
		{write("text", "words"), "this is a file"},
		{filepath.Dir(write("adapter/adapter_config.json", "{}")), "an adapter"},
		{filepath.Dir(filepath.Dir(write("run/model/config.json", "{}"))), "its model is"},
		{filepath.Dir(filepath.Dir(write("tuned/adapter/adapter_config.json", "{}"))), "its adapter is"},
		{filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(write("begun/checkpoints/step-3/config.json", "{}")))), "model"), "has not ended"},
		{filepath.Join(dir, "begun", "modle"), "there is no such folder"},
		{filepath.Dir(filepath.Dir(write("odd/config.json/x", ""))), "is a directory"},
		{filepath.Dir(write("empty/notes", "")), "has no config.json"},
	} {
		if _, err := ReadConfig(c.path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "open model "+c.path) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
	}
	if config, err := ReadConfig(filepath.Dir(write("m/config.json", "{}"))); err != nil || string(config) != "{}" {
		t.Errorf("a model folder: %q, %v", config, err)
	}
}
