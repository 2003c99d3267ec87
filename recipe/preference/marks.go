package preference

import (
	"bufio"
	"errors"
	"os"
	"unsafe"

	"hone/internal/mapped"
)

// markFile keeps the tokens of a list of preferences on disk: they are written as records are read and mapped
// into memory after that, so that the system holds what is in use. The file is gone as soon as it is mapped;
// what a crash leaves before that has a name by which the next session in the folder removes it (atomicfile.Clean).
type markFile struct {
	file    *os.File
	w       *bufio.Writer
	lengths []int32 // of the answers, in the order in which they were taken
	mapped  *mapped.File
}

// newMarkFile begins a file in the folder of a run.
func newMarkFile(dir string) (*markFile, error) {
	f, err := os.CreateTemp(dir, ".preferences.tmp-*")
	if err != nil {
		return nil, err
	}
	return &markFile{file: f, w: bufio.NewWriterSize(f, 1<<20)}, nil
}

// take writes the tokens of an item, which has none until attach.
func (f *markFile) take(j *judged) error {
	for i, marks := range j.answers {
		f.lengths = append(f.lengths, int32(len(marks)))
		// In the machine's own byte order: the file lives no longer than the process.
		if _, err := f.w.Write(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(marks))), 4*len(marks))); err != nil {
			return err
		}
		j.answers[i] = nil
	}
	return nil
}

// attach maps the file and gives the items, all that were taken in their order, their tokens again.
func (f *markFile) attach(list []judged) (err error) {
	path := f.file.Name()
	if err := errors.Join(f.w.Flush(), f.file.Close()); err != nil {
		return err
	}
	f.file, f.w = nil, nil // the buffer of a MiB, too
	f.mapped, err = mapped.Open(path)
	if err := errors.Join(err, os.Remove(path)); err != nil {
		return err
	}
	bytes, next := f.mapped.Bytes(), 0
	all := unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(bytes))), len(bytes)/4)
	for i := range list {
		for a := range list[i].answers {
			n := int(f.lengths[next])
			list[i].answers[a], all = all[:n:n], all[n:]
			next++
		}
	}
	f.lengths = nil
	return nil
}

// close gives the tokens back, which nothing may touch after it.
func (f *markFile) close() error {
	if f == nil {
		return nil
	}
	var err error
	if f.file != nil { // never mapped
		err = errors.Join(f.file.Close(), os.Remove(f.file.Name()))
	}
	if f.mapped != nil {
		err = errors.Join(err, f.mapped.Close())
	}
	return err
}

// onDisk keeps the tokens of what fill adds in a file of dir.
func onDisk(dir string, fill func(add func(judged) error) error) (list []judged, f *markFile, err error) {
	if f, err = newMarkFile(dir); err != nil {
		return nil, nil, err
	}
	err = fill(func(j judged) error {
		list = append(list, j)
		return f.take(&list[len(list)-1])
	})
	if err == nil {
		err = f.attach(list)
	}
	return list, f, err
}
