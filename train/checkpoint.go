package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/zeebo/xxh3"

	"hone/internal/atomicfile"
)

// Checkpoints keeps states of a run in Dir, each in a folder step-N that also is a model
// folder if Extra makes it one: model.safetensors (f32), optimizer.safetensors, state.json,
// recipe.json, and complete.json, which is written last. A folder without it is unfinished.
//
// Whatever moment a crash falls into, the newest complete folder is whole: files are written under another
// name (.step-N.unfinished) and put on the disk, the folder is renamed, then the marker is written with the
// sizes and checksums of all files; an old folder is removed marker first, after the new one is complete.
type Checkpoints struct {
	Dir      string
	Every    int     // steps between checkpoints; 0: none by steps
	Seconds  float64 // seconds between checkpoints at the latest; 0: none by time
	KeepLast int     // newest to keep; 0: all
	KeepBest bool    // also keep the best evaluation's
	Weights  string  // file of the weights in a checkpoint; "": model.safetensors
	// weights that are no part of the model, such as a critic's: they stand with the optimizer's state; may be nil
	Aside  func(name string) bool
	Recipe map[string]string      // what the run is; see Resume
	Extra  func(dir string) error // writes further files into a checkpoint; may be nil
	// bytes of the host's memory for a copy of the state, which is then written while training goes on; nil:
	// training waits
	Room func() int64

	copy []part // of the last state that was copied, whose memory the next takes over
}

// The files of a checkpoint.
const (
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
	recipeFile    = "recipe.json"
	completeFile  = "complete.json"
)

// Path is the folder of the checkpoint of a step.
func (c *Checkpoints) Path(step int) string { return filepath.Join(c.Dir, "step-"+strconv.Itoa(step)) }

// save writes a checkpoint of the present state and then removes those no longer wanted, in the background
// where Checkpoints has room for a copy.
func (l *Loop) save() error {
	if err := l.written(true); err != nil {
		return err
	}
	begin := time.Now()
	l.state.Updates, l.state.Seed = l.Optimizer.Updates(), l.Seed
	l.seconds()
	if l.Record != nil { // what the checkpoint continues must not be lost before it is
		if err := l.Record.Sync(); err != nil {
			return err
		}
	}
	c, state := l.Checkpoints, l.state
	finish, err := c.begin(state, l.Optimizer)
	if err != nil {
		return &unsavable{c.saveError(state.Step, err)}
	}
	l.saved, l.savedAt = state.Step, time.Now()
	l.writing = make(chan written, 1)
	write := func(to chan<- written) {
		bytes, err := finish()
		if err != nil {
			err = c.saveError(state.Step, err)
		} else {
			err = c.prune(state)
		}
		to <- written{err, CheckpointEvent{Step: state.Step, Path: c.Path(state.Step), Bytes: bytes,
			Took: time.Since(begin).Seconds(), Seconds: state.Seconds}}
	}
	// begin has copied the tensors, so this goes on in the background; its error comes at the next step or save
	if c.Room != nil {
		go write(l.writing)
		return nil
	}
	write(l.writing)
	return l.written(true)
}

// written is what became of a checkpoint.
type written struct {
	err   error
	event CheckpointEvent
}

// written takes note of the checkpoint that is being written, if there is one, and with wait waits until it is.
func (l *Loop) written(wait bool) error {
	if l.writing == nil || !wait && len(l.writing) == 0 {
		return nil
	}
	w := <-l.writing
	l.writing = nil
	if w.err != nil {
		return &unsavable{w.err}
	}
	return l.emit(w.event)
}

// saveError says in one sentence what failed and what is left.
func (c *Checkpoints) saveError(step int, err error) error {
	kept := "there is no earlier one, begin again with resume=true"
	if newest := c.Newest(); newest > 0 {
		kept = fmt.Sprintf("that of step %d is kept, go on from it with resume=true", newest)
	}
	if atomicfile.NoSpace(err) {
		return fmt.Errorf("save %s: %w; %s after freeing some space", c.Path(step), syscall.ENOSPC, kept)
	}
	return fmt.Errorf("save %s: %w; %s", c.Path(step), err, kept)
}

// begin takes the state that a checkpoint is to hold, and returns what writes the rest of it: files under
// another name until they are there, and counting only once the marker is. A failure leaves nothing behind.
// Without Room for the tensors they are read as they are written.
func (c *Checkpoints) begin(s State, o Optimizer) (finish func() (bytes int64, err error), err error) {
	temp, final := filepath.Join(c.Dir, fmt.Sprintf(".step-%d%s", s.Step, tempSuffix)), c.Path(s.Step)
	// What stands at either place is unfinished: from a whole checkpoint of this step the run would have gone
	// on, past it.
	clean := func(err error) error { return errors.Join(err, os.RemoveAll(temp), os.RemoveAll(final)) }
	if err := errors.Join(clean(nil), os.MkdirAll(temp, 0o755)); err != nil {
		return nil, err
	}
	if err := c.writeFiles(temp, s); err != nil {
		return nil, clean(err)
	}
	parts := c.partsOf(o.State())
	write := func() (int64, error) {
		if err := c.writeTensors(temp, parts); err != nil {
			return 0, clean(err)
		}
		bytes, err := complete(temp, final)
		if err != nil {
			err = clean(err)
		}
		return bytes, err
	}
	if c.Room == nil {
		return write, nil
	}
	if c.copy == nil && c.Room() < sizeOf(parts) { // once made, the memory of the copy is kept, and no room needs to be found
		bytes, err := write()
		return func() (int64, error) { return bytes, err }, err
	}
	for i := range parts { // training waits for these copies alone
		if err := parts[i].read(); err != nil {
			return nil, clean(err)
		}
	}
	c.copy = parts
	return write, nil
}

// sizeOf is the bytes of parts on the host.
func sizeOf(parts []part) (bytes int64) {
	for _, p := range parts {
		bytes += int64(p.Len()) * int64(p.DType().Size())
	}
	return bytes
}

// complete gives a checkpoint its name and then its marker, last of all: Mark puts every file on the disk before it,
// so whatever a file system writes first, no marker stands beside a torn file. Were it written under the temporary
// name, a crash before the rename would lose a checkpoint that is whole: Clean removes what has that name.
func complete(temp, final string) (bytes int64, err error) {
	if err := os.Rename(temp, final); err != nil {
		return 0, err
	}
	sizes, err := fileSizes(final)
	if err != nil {
		return 0, err
	}
	m := marker{Format: checkpointFormat, Sizes: sizes, Sums: make(map[string]string)}
	for name, n := range sizes {
		if m.Sums[name], err = checksum(filepath.Join(final, filepath.FromSlash(name))); err != nil {
			return 0, err
		}
		bytes += n
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return 0, err
	}
	return bytes, atomicfile.Mark(final, completeFile, append(text, '\n'))
}

const (
	checkpointFormat = 1
	tempSuffix       = ".unfinished"
)

// marker is what complete.json says of the other files, by their path in the checkpoint.
type marker struct {
	Format int               `json:"format"`
	Sizes  map[string]int64  `json:"sizes"`
	Sums   map[string]string `json:"sums"` // XXH3, in hexadecimal digits; nil in checkpoints of earlier builds
}

// checksum reads a file whole. Of one that was just written it reads what the system still has in memory.
func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := xxh3.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%016x", h.Sum64()), nil
}

// writeFiles writes all but the tensors.
func (c *Checkpoints) writeFiles(dir string, s State) error {
	for name, v := range map[string]any{stateFile: s, recipeFile: c.Recipe} {
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		if err := atomicfile.WriteFile(filepath.Join(dir, name), append(text, '\n')); err != nil {
			return err
		}
	}
	if c.Extra != nil {
		return c.Extra(dir)
	}
	return nil
}

// fileSizes lists the files below dir by their path in it.
func fileSizes(dir string) (map[string]int64, error) {
	sizes := make(map[string]int64)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		sizes[filepath.ToSlash(name)] = info.Size()
		return err
	})
	return sizes, err
}

// prune removes the checkpoints that are neither among the newest nor the best.
func (c *Checkpoints) prune(s State) error {
	steps := completeSteps(c.Dir)
	if c.KeepLast <= 0 {
		return nil
	}
	for _, step := range steps[:max(0, len(steps)-c.KeepLast)] {
		if c.KeepBest && step == s.BestStep {
			continue
		}
		if err := remove(c.Path(step)); err != nil {
			return fmt.Errorf("remove an old checkpoint: %w", err)
		}
	}
	return nil
}

// remove deletes a checkpoint, the marker first, so that a half deleted one never counts.
func remove(path string) error {
	err := os.Remove(filepath.Join(path, completeFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.RemoveAll(path)
}

// completeSteps lists the steps of the whole checkpoints in dir, ascending.
func completeSteps(dir string) []int {
	var steps []int
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if step, ok := stepOf(e.Name()); ok && isComplete(filepath.Join(dir, e.Name())) {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps
}

func stepOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "step-")
	step, err := strconv.Atoi(digits)
	return step, ok && err == nil && step > 0 && strconv.Itoa(step) == digits
}

// isComplete reports whether a checkpoint has its marker and its files have the sizes that
// the marker says.
func isComplete(dir string) bool {
	var m marker
	if readJSON(filepath.Join(dir, completeFile), &m) != nil || m.Format != checkpointFormat {
		return false
	}
	for name, size := range m.Sizes {
		if !filepath.IsLocal(name) {
			return false
		}
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || info.Size() != size {
			return false
		}
	}
	_, whole := m.Sizes[optimizerFile]
	return whole
}

// Verify reads files of the checkpoint of step, all of them where none is named, and refuses one that is not as it was
// written: a run that went on from it would end elsewhere, and nobody would know.
func (c *Checkpoints) Verify(step int, names ...string) error {
	dir := c.Path(step)
	var m marker
	if err := readJSON(filepath.Join(dir, completeFile), &m); err != nil {
		return err
	}
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(m.Sums))
	}
	for _, name := range names {
		sum, err := checksum(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if want, ok := m.Sums[name]; ok && sum != want {
			return fmt.Errorf("checkpoint %s is damaged, its %s is not as it was written", dir, name)
		}
	}
	return nil
}

// verify is Verify of the checkpoint to resume from; its error says what is left without it.
func (c *Checkpoints) verify(step int, names ...string) error {
	err := c.Verify(step, names...)
	if err == nil {
		return nil
	}
	others := slices.DeleteFunc(completeSteps(c.Dir), func(s int) bool { return s == step })
	then := "the only one, and begin again"
	if len(others) > 0 {
		then = fmt.Sprintf("and resume=true goes on from step %d", others[len(others)-1])
	}
	return fmt.Errorf("resume: %w; put a copy in its place, or remove the folder, %s", err, then)
}

// Clean removes what a crash left: unfinished checkpoints. It returns their number.
func (c *Checkpoints) Clean() (removed int, err error) {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for checkpoints: %w", err)
	}
	for _, e := range entries {
		_, isStep := stepOf(e.Name())
		path := filepath.Join(c.Dir, e.Name())
		if !strings.HasSuffix(e.Name(), tempSuffix) && !(isStep && !isComplete(path)) {
			continue
		}
		if err := remove(path); err != nil {
			return removed, fmt.Errorf("remove an unfinished checkpoint: %w", err)
		}
		removed++
	}
	return removed, nil
}

// Newest is the step of the newest whole checkpoint, 0 when there is none.
func (c *Checkpoints) Newest() int {
	steps := completeSteps(c.Dir)
	if len(steps) == 0 {
		return 0
	}
	return steps[len(steps)-1]
}
