package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// ReadFile reads a text that a person wrote, without the byte order mark that some editors begin it with.
func ReadFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	return bytes.TrimPrefix(text, []byte("\ufeff")), err
}

// NotRead words why a file that a person named was not read: it holds what.
func NotRead(path, what string, err error) error {
	info, failed := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %s; name one with %s", path, what)
	case failed == nil && info.IsDir():
		return fmt.Errorf("%s is a folder; name a file with %s", path, what)
	}
	return err
}

// ReadAll reads in to its end, or until ctx is done: a terminal that nobody types on is not waited for. More than most bytes are refused.
func ReadAll(ctx context.Context, in io.Reader, most int64) ([]byte, error) {
	return Promptly(ctx, func() ([]byte, error) {
		data, err := io.ReadAll(io.LimitReader(in, most+1))
		if err == nil && int64(len(data)) > most {
			err = fmt.Errorf("there are more than %d MiB; give less at once", most>>20)
		}
		return data, err
	})
}

// Promptly calls f and returns what it does, or, as soon as ctx is done, the error of ctx. f cannot be stopped then and goes on beside the caller, so
// this is for a command that ends with it, and for an f that leaves nothing half done on disk. Where ctx is done before, f is not called.
func Promptly[T any](ctx context.Context, f func() (T, error)) (T, error) {
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

// JSONError is an error of encoding/json without the names of Go's types.
func JSONError(err error) error {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		where := ""
		if kind.Field != "" {
			where = " under " + kind.Field
		}
		return fmt.Errorf("there is a JSON %s%s, which cannot be meant", kind.Value, where)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}
