package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"hone/adapter"
)

// checked is an output that remembers its first failure, because callers of fmt.Fprint do not look at its error. The file is a field and not
// embedded: its own WriteString and ReadFrom would go past Write.
type checked struct {
	file *os.File
	err  error
}

// Write implements io.Writer.
func (c *checked) Write(p []byte) (int, error) {
	n, err := c.file.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

// Fd is that of the file, by which a terminal is told.
func (c *checked) Fd() uintptr { return c.file.Fd() }

// newModel makes the folder of a model or of a tokenizer. write gets a folder within out, and what it wrote there is moved to out once all of it is
// there, config.json last. Where write fails, also because it is interrupted, out is as it was before. What a killed call left is removed by the next.
func newModel(out string, write func(dir string) error) (err error) {
	if err := mustBeFree(out); err != nil {
		return err
	}
	// A folder that the call made goes with it when it fails; one that was there before stays.
	_, missing := os.Stat(out)
	temp := filepath.Join(out, ".hone-unfinished")
	if err := errors.Join(os.RemoveAll(temp), os.MkdirAll(temp, 0o777)); err != nil {
		return fmt.Errorf("make the folder %s: %w", out, err)
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(temp))
		if err != nil && missing != nil {
			os.Remove(out) // fails, as it should, where somebody else put a file in it meanwhile
		}
	}()
	if err := write(temp); err != nil {
		return err
	}
	return moveFiles(out, temp, "config.json")
}

// moveFiles moves the files of a folder to another one on the same disk; the one called last, where there is one, comes at the end.
func moveFiles(to, from, last string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	var order []string
	for _, e := range entries {
		if e.Name() != last {
			order = append(order, e.Name())
		}
	}
	// config.json makes a folder a model, so a reader that finds it finds all that it speaks of.
	if len(order) < len(entries) {
		order = append(order, last)
	}
	for _, name := range order {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// mustBeFree refuses a folder that holds a model, an adapter or a tokenizer, and what is a file or lies below one.
func mustBeFree(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is a file; name a folder as out", at)
		}
		if err == nil || at == filepath.Dir(at) {
			break
		}
	}
	for _, of := range [][2]string{{"config.json", "a model"}, {adapter.ConfigName, "an adapter"}, {"tokenizer.json", "a tokenizer"}} {
		if _, err := os.Stat(filepath.Join(dir, of[0])); err == nil {
			return fmt.Errorf("%s already holds %s; name another folder as out", dir, of[1])
		}
	}
	return nil
}

// readAll reads in to its end, or until ctx is done: a terminal that nobody types on is not waited for. More than most bytes are refused.
func readAll(ctx context.Context, in io.Reader, most int64) ([]byte, error) {
	return promptly(ctx, func() ([]byte, error) {
		data, err := io.ReadAll(io.LimitReader(in, most+1))
		if err == nil && int64(len(data)) > most {
			err = fmt.Errorf("there are more than %d MiB; give less at once", most>>20)
		}
		return data, err
	})
}

// promptly calls f and returns what it does, or, as soon as ctx is done, the error of ctx. f cannot be stopped then and goes on beside the caller, so
// this is for a command that ends with it, and for an f that leaves nothing half done on disk. Where ctx is done before, f is not called.
func promptly[T any](ctx context.Context, f func() (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var none T
		return none, err
	}
	type result struct {
		value T
		err   error
	}
	// Room for one, so that f does not wait for ever where nobody reads any more.
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
