package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hone/adapter"
	"hone/internal/filelock"
)

// WriteFolder makes the folder of a model or of a tokenizer. write gets a folder within out, and what it wrote there is moved to out once all of it is
// there, config.json last. Where write fails, also because it is interrupted, out is as it was before. What a killed call left is removed by the next, and
// one beside another in the same folder is refused: it would take the other's files for such.
func WriteFolder(out string, write func(dir string) error) (err error) {
	if err := CheckFree(out); err != nil {
		return err
	}
	// A folder that the call made goes with it when it fails; one that was there before stays.
	_, missing := os.Stat(out)
	temp := filepath.Join(out, ".hone-unfinished")
	if err := os.MkdirAll(out, 0o777); err != nil {
		return fmt.Errorf("make the folder %s: %w", out, err)
	}
	release, err := filelock.Folder(out)
	if errors.Is(err, filelock.ErrHeld) {
		return fmt.Errorf("another program writes to %s; wait for its end, or name another folder as out", out)
	} else if err != nil {
		return fmt.Errorf("open the folder %s: %w", out, err)
	}
	defer release()
	if err := CheckFree(out); err != nil { // one that ended meanwhile
		return err
	}
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

// CheckFree refuses a folder that holds a model, an adapter or a tokenizer, and what is a file or lies below one.
func CheckFree(dir string) error {
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
