package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hone/internal/atomicfile"
)

// FileName is the file of a result's folder with its recipe, every default filled in.
const FileName = "recipe.yaml"

// Save keeps the recipe that config points to in a folder.
func Save(dir string, config any) error {
	text, err := Encode(config)
	if err != nil {
		return fmt.Errorf("write the recipe: %w", err)
	}
	return atomicfile.WriteFile(filepath.Join(dir, FileName), text)
}

// Load reads the recipe file at path, if there is one, over the values in config and
// then the arguments path=value. Validate is the caller's.
func Load(config any, path string, overrides []string) error {
	if path != "" {
		text, err := readRecipe(config, path)
		if err != nil {
			return err
		}
		if err := Decode(config, path, text); err != nil {
			return err
		}
	}
	return Override(config, overrides)
}

// readRecipe reads a file that is small enough to be a recipe of the kind of config.
func readRecipe(config any, path string) ([]byte, error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if s, _ := find(settings(config), path); s != nil { // a key with spaces around its equals sign, or without a value
			return nil, notSet(settings(config), path)
		}
		return nil, fmt.Errorf("read the recipe: there is no file %s; name one that is there, or give keys alone, as path=value without spaces", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the recipe: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("read the recipe: %s is a folder; give data and models by their keys, as in data=%s", path, path)
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("read the recipe: %s is no file of at most %d bytes and so no recipe%s", path, most, orData(settings(config), path))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the recipe: %w", err)
	}
	return text, nil
}

// Given points at the keys that are set.
func Given(keys ...*string) (set []*string) {
	for _, key := range keys {
		if *key != "" {
			set = append(set, key)
		}
	}
	return set
}
