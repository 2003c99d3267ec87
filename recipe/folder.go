package recipe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hone/internal/atomicfile"
)

// runFolder is the folder of a run, OUT.
type runFolder struct{ dir string }

func (f runFolder) path(name string) string { return filepath.Join(f.dir, name) }

// The contents of a run folder. A tokenizer and tokens alone are no run: they are
// made before it starts and are used again.
const (
	recipeName      = "recipe.yaml"
	metricsName     = "metrics.jsonl"
	checkpointsName = "checkpoints"
	modelName       = "model"
	adapterName     = "adapter"
	tokensName      = "tokens"
	tokenizerName   = "tokenizer"
	selfName        = "replay"
	forgettingName  = "forgetting.json"
)

// open makes the folder and refuses to overwrite a run.
func (f runFolder) open(resume bool) error {
	if info, err := os.Stat(f.dir); err == nil && !info.IsDir() {
		return fmt.Errorf("out is %s, which is a file; name a folder", f.dir)
	}
	if !resume {
		for _, name := range []string{recipeName, metricsName, checkpointsName, modelName, adapterName} {
			if _, err := os.Lstat(f.path(name)); err == nil {
				return fmt.Errorf("%s already holds a run; go on with it by resume=true, or choose another out", f.dir)
			}
		}
	}
	if err := os.MkdirAll(f.dir, 0o777); err != nil {
		return fmt.Errorf("make the folder of the run: %w", err)
	}
	return nil
}

// writeRecipe keeps the resolved recipe.
func (f runFolder) writeRecipe(config any) error {
	text, err := Encode(config)
	if err != nil {
		return fmt.Errorf("write the recipe: %w", err)
	}
	return atomicfile.WriteFile(f.path(recipeName), text)
}

// replace puts a folder made by write at name: whole, or not at all.
func (f runFolder) replace(name string, write func(dir string) error) (err error) {
	temp, final, old := f.path("."+name+".unfinished"), f.path(name), f.path("."+name+".old")
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if err := errors.Join(os.RemoveAll(temp), os.RemoveAll(old)); err != nil {
		return err
	}
	if err := os.MkdirAll(temp, 0o777); err != nil {
		return err
	}
	if err := write(temp); err != nil {
		return err
	}
	if err := os.Rename(final, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, final); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// LoadConfig reads the recipe file at path, if there is one, over the values in config and
// then the arguments path=value. Validate is the caller's.
func LoadConfig(config any, path string, overrides []string) error {
	if path != "" {
		text, err := readRecipe(path)
		if err != nil {
			return err
		}
		if err := Decode(config, path, text); err != nil {
			return err
		}
	}
	return Override(config, overrides)
}

// readRecipe reads a file that is small enough to be a recipe.
func readRecipe(path string) ([]byte, error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the recipe: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("read the recipe: %s is no file of at most %d bytes", path, most)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the recipe: %w", err)
	}
	return text, nil
}
