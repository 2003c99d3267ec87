// Package atomicfile writes files that are either wholly there or not there at all.
//
// New content goes to a temporary file in the same folder, is flushed to the disk and then renamed over the old name, so a
// crash, a full disk or a pulled plug leaves the old file as it was. A folder of several files becomes complete the same
// way: [Mark] flushes everything in it and writes a marker last; readers ignore a folder without its marker.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// A leftover is named ".NAME.tmp-RANDOM": hidden, beside its target, and recognised by Clean.
const tempMark = ".tmp-"

// File is a file being written under a temporary name. Nothing is visible under the final name before Commit.
// The first failed write sticks: Commit then refuses and the old file stays.
type File struct {
	file *os.File
	path string
	err  error
	done bool
}

// Create starts a new version of the file at path. The folder must exist, and what stands at path must be a file: a rename over a
// device such as /dev/null would take its place. The caller ends with Commit, and may defer Abort, which does nothing after a Commit.
func Create(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("create %s: it is a folder; name a file in it", path)
	} else if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("create %s: it is no regular file; name another", path)
	}
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := createTemp(filepath.Join(dir, "."+name+tempMark))
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, plain(err))
	}
	return &File{file: f, path: path}, nil
}

// createTemp makes a file of a name that begins so and that there is not. Unlike os.CreateTemp it leaves to the system, by its umask, who may read what
// the file will be.
func createTemp(begin string) (f *os.File, err error) {
	for range 10000 {
		f, err = os.OpenFile(begin+strconv.FormatUint(uint64(rand.Uint32()), 10), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, os.ErrExist) {
			break
		}
	}
	return f, err
}

// Write appends p.
func (f *File) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.file.Write(p)
	return n, f.keep(err)
}

// WriteAt writes p at byte offset off, leaving the position of Write alone.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.file.WriteAt(p, off)
	return n, f.keep(err)
}

// keep remembers the first failure, worded for the person whose file it is.
func (f *File) keep(err error) error {
	if err != nil {
		f.err = fmt.Errorf("write %s: %w (an older version of the file is untouched)", f.path, plain(err))
	}
	return f.err
}

// Commit flushes the content to the disk and gives the file its final name, replacing an older version.
// On any error the temporary file is removed and the older version is untouched.
func (f *File) Commit() error {
	if f.done {
		return errors.New("commit " + f.path + ": already committed or aborted")
	}
	defer f.Abort()
	if f.err != nil {
		return f.err
	}
	if err := f.file.Sync(); err != nil {
		return f.keep(err)
	}
	if err := f.file.Close(); err != nil {
		return f.keep(err)
	}
	if err := os.Rename(f.file.Name(), f.path); err != nil {
		return f.keep(err)
	}
	f.done = true
	return syncDir(filepath.Dir(f.path))
}

// Abort drops what was written. It does nothing after a successful Commit, so it can be deferred.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	f.file.Close() // an error here, such as "already closed", changes nothing: the file is removed next
	os.Remove(f.file.Name())
}

// WriteFile replaces the file at path by data, or leaves it as it was and returns an error.
func WriteFile(path string, data []byte) error {
	return WriteTo(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteTo replaces the file at path by what write produces; if write fails, the file stays as it was.
func WriteTo(path string, write func(io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}

// Mark completes the folder dir: it flushes every file and folder below it to the disk and only then writes the file
// dir/name with the given content. A folder without its marker is unfinished work.
func Mark(dir, name string, data []byte) error {
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return syncDir(path)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		return syncPath(path)
	})
	if err != nil {
		return fmt.Errorf("flush %s: %w", dir, plain(err))
	}
	if err := WriteFile(filepath.Join(dir, name), data); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// Clean removes the temporary files that a crash left in dir (not below it) and returns how many there were. Call it only
// while nobody else writes to dir. A dir that does not exist has no leftovers.
func Clean(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for leftovers in %s: %w", dir, plain(err))
	}
	removed := 0
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), ".") || !strings.Contains(e.Name(), tempMark) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return removed, fmt.Errorf("remove a leftover: %w", plain(err))
		}
		removed++
	}
	return removed, nil
}

// syncDir makes renames and new names in dir durable. File systems that cannot flush a folder say EINVAL or ENOTSUP, which
// leaves nothing to be done. Windows has no call for it.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	err := syncPath(dir)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// syncPath flushes a file or folder. Windows flushes what is open for writing alone.
func syncPath(path string) error {
	mode := os.O_RDONLY
	if runtime.GOOS == "windows" {
		mode = os.O_RDWR
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// plain drops the temporary name that *os.PathError carries: it means nothing to the reader of the message.
func plain(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		err = le.Err
	}
	if NoSpace(err) {
		return fmt.Errorf("%w; free some space and start again", err)
	}
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w; name a file in a folder that is there and can be written to", err)
	}
	return err
}
