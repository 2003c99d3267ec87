package recipe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hone/internal/atomicfile"
	"hone/internal/filelock"
	"hone/recipe/config"
	"hone/train"
)

// Folder is the folder of a run, OUT.
type Folder struct{ Dir string }

// Path is where name stands in the folder.
func (f Folder) Path(name string) string { return filepath.Join(f.Dir, name) }

// The contents of a run folder. What else may be there, such as a tokenizer and tokens, is no run: it is
// made before it starts and is used again.
const (
	metricsName     = "metrics.jsonl"
	checkpointsName = "checkpoints"
	ModelName       = "model"
	AdapterName     = "adapter"
)

// errHeld says that another process holds a folder.
var errHeld = errors.New("another run is at work in this folder")

// hold locks the folder itself, so that no file is left behind, until release is called or the process ends
// in any way. It is errHeld where another run has it; where folders cannot be locked, two runs in one at the
// same time are the user's to avoid.
func hold(dir string) (release func(), err error) {
	release, err = filelock.Folder(dir)
	if errors.Is(err, filelock.ErrHeld) {
		err = errHeld
	}
	return release, err
}

// Step is that of the newest checkpoint, 0 where there is none.
func (f Folder) Step() int { return (&train.Checkpoints{Dir: f.Path(checkpointsName)}).Newest() }

// open makes the folder, holds it until release is called, and refuses to overwrite a run or to be a second
// one beside it.
func (f Folder) open(resume bool) (release func(), err error) {
	if info, err := os.Stat(f.Dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("out is %s, which is a file; name a folder", f.Dir)
	}
	if err := f.unused(resume); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(f.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("make the folder of the run: %w; choose another out", err)
	}
	release, err = hold(f.Dir)
	if errors.Is(err, errHeld) {
		return nil, fmt.Errorf("%s: %w; wait for its end, or choose another out", f.Dir, err)
	} else if err != nil {
		return nil, fmt.Errorf("open the folder of the run: %w", err)
	}
	err = f.unused(resume) // one that ended meanwhile
	if err == nil {
		_, err = atomicfile.Clean(f.Dir) // of a run that was killed while it wrote
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// unused refuses a folder that holds a run, unless that is to be gone on with.
func (f Folder) unused(resume bool) error {
	for _, name := range []string{config.FileName, metricsName, checkpointsName, ModelName, AdapterName} {
		if _, err := os.Lstat(f.Path(name)); err == nil && !resume {
			return fmt.Errorf("%s already holds a run; go on with it by resume=true, or choose another out", f.Dir)
		}
	}
	return nil
}

// missing lists the folder and those above it that are not there, the innermost first.
func (f Folder) missing() (dirs []string) {
	for dir := filepath.Clean(f.Dir); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			return dirs
		}
		if dirs = append(dirs, dir); dir == filepath.Dir(dir) { // a drive that is not there
			return dirs
		}
	}
}

// removeEmpty removes folders of which each is in the next one, as far as they are empty. What took the
// place of one meanwhile is not ours.
func removeEmpty(dirs []string) {
	for _, dir := range dirs {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			os.Remove(dir) // fails where there is something in it
		}
	}
}

// Replace puts a folder made by write at name: whole, or not at all. Where a crash came just before the new
// one took the place of the old one, that is put back first.
func (f Folder) Replace(name string, write func(dir string) error) (err error) {
	temp, final, old := f.Path("."+name+".unfinished"), f.Path(name), f.Path("."+name+".old")
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	// Between the two renames below there is a moment without final: a crash in it is mended here, by the next call.
	if _, err := os.Stat(final); errors.Is(err, os.ErrNotExist) {
		if err := os.Rename(old, final); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
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
