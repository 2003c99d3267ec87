package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"hone/adapter"
)

// checked is an output that remembers its first failure, for nobody looks at what printing returns.
type checked struct {
	*os.File // terminals are told by it
	err      error
}

// Write implements io.Writer.
func (c *checked) Write(p []byte) (int, error) {
	n, err := c.File.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

// newModel makes the folder out of a model, or of a tokenizer, by write. Where that fails, also because it is interrupted, what it left is taken
// away again; other files in the folder stay. (When the power goes, config.json, which is written last, is missing, and the folder is no model.)
func newModel(out string, write func() error) error {
	if err := mustBeFree(out); err != nil {
		return err
	}
	before, missing := files(out)
	err := write()
	if err == nil {
		return nil
	}
	now, _ := files(out)
	for _, name := range now {
		if !slices.Contains(before, name) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(out, name)))
		}
	}
	if missing {
		os.Remove(out) // not where somebody else put something in it meanwhile
	}
	return err
}

// files lists a folder, and tells whether it is missing.
func files(dir string) (names []string, missing bool) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, errors.Is(err, os.ErrNotExist)
}

// mustBeFree refuses a folder that holds a model, an adapter or a tokenizer.
func mustBeFree(dir string) error {
	for _, of := range [][2]string{{"config.json", "a model"}, {adapter.ConfigName, "an adapter"}, {"tokenizer.json", "a tokenizer"}} {
		if _, err := os.Stat(filepath.Join(dir, of[0])); err == nil {
			return fmt.Errorf("%s already holds %s; name another folder as out", dir, of[1])
		}
	}
	return nil
}

// readAll reads in to its end, or until ctx is done: a terminal that nobody types on is not waited for.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(in)
		done <- read{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
