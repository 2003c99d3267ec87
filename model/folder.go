package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ReadConfig reads the config.json of a model folder. The error says what dir is instead of one.
func ReadConfig(dir string) ([]byte, error) {
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", dir, noFolder(dir, err))
	}
	return config, nil
}

// generationName is the file that says how texts are generated: which tokens end them, and sampling.
const generationName = "generation_config.json"

// readGeneration reads the generation_config.json of a model folder, nil where there is none.
func readGeneration(dir string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, generationName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &map[string]any{})
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; mend the file or take it out", generationName, err)
	}
	return text, nil
}

// noFolder words why dir, whose config.json cannot be read because of err, is no model.
func noFolder(dir string, err error) error {
	info, statErr := os.Stat(dir)
	isDir := statErr == nil && info.IsDir()
	var saved []string // checkpoints beside what would be the result of a run
	if filepath.Base(dir) == "model" {
		saved, _ = filepath.Glob(filepath.Join(filepath.Dir(dir), "checkpoints", "step-*", "config.json"))
	}
	switch {
	case !isDir && strings.EqualFold(filepath.Ext(dir), ".gguf"):
		return fmt.Errorf("this is a GGUF file; hone import %s makes a model folder of it", dir)
	case errors.Is(statErr, fs.ErrNotExist) && len(saved) > 0:
		return fmt.Errorf("the run in %s has not ended; its checkpoints are models, too, such as %s",
			filepath.Dir(dir), filepath.Dir(saved[len(saved)-1]))
	case errors.Is(statErr, fs.ErrNotExist):
		return errors.New("there is no such folder; name one with config.json and weights")
	case statErr != nil || isDir && !errors.Is(err, fs.ErrNotExist):
		return err
	case !isDir:
		return errors.New("this is a file; name the folder with config.json and weights")
	}
	has := func(name ...string) bool {
		_, err := os.Stat(filepath.Join(append([]string{dir}, name...)...))
		return err == nil
	}
	switch {
	case has("adapter_config.json"):
		return errors.New("this is the folder of an adapter; name its base, and the adapter with --adapter, or fold it in with hone merge")
	case has("model", "config.json"):
		return fmt.Errorf("this is the folder of a run; its model is %s", filepath.Join(dir, "model"))
	case has("adapter", "adapter_config.json"):
		return fmt.Errorf("this is the folder of a run; its adapter is %s", filepath.Join(dir, "adapter"))
	}
	return errors.New("the folder has no config.json; name one with config.json and weights")
}
