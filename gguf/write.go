package gguf

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"hone/internal/atomicfile"
)

// Writer writes the tensors of a plan, in any order, one at a time in memory. Nothing is visible before Commit.
type Writer struct {
	file   *atomicfile.File
	places map[string]place // tensors not written yet
	size   int64            // of the whole file
}

type place struct {
	Info
	at int64
}

// Create starts a file of version 3 with the given metadata and tensors, which lie in the order of the plan. End with Commit; Abort may
// be deferred.
func Create(path string, metadata Metadata, plan []Info) (*Writer, error) {
	w := &Writer{places: map[string]place{}}
	head, err := w.header(metadata, plan)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	if w.file, err = atomicfile.Create(path); err != nil {
		return nil, err
	}
	_, err = w.file.WriteAt(head, 0)
	if w.size > int64(len(head)) && err == nil { // the padding behind the last tensor
		_, err = w.file.WriteAt([]byte{0}, w.size-1)
	}
	if err != nil {
		w.file.Abort()
		return nil, err
	}
	return w, nil
}

// header lays the file out.
func (w *Writer) header(metadata Metadata, plan []Info) ([]byte, error) {
	head := le.AppendUint32([]byte(magic), 3)
	head = le.AppendUint64(le.AppendUint64(head, uint64(len(plan))), uint64(len(metadata)))
	seen, err := map[string]bool{}, error(nil)
	for _, p := range metadata {
		if p.Key == "" || p.Key == alignment || len(p.Key) > maxName || !utf8.ValidString(p.Key) || seen[p.Key] {
			return nil, fmt.Errorf("a key cannot be called %q, or occurs twice", p.Key)
		}
		seen[p.Key] = true
		if head, err = appendValue(appendString(head, p.Key), p.Value); err != nil {
			return nil, fmt.Errorf("key %s: %w", p.Key, err)
		}
	}
	at := int64(0)
	for _, p := range plan {
		if _, twice := w.places[p.Name]; twice || p.Name == "" || len(p.Name) > maxName || !utf8.ValidString(p.Name) {
			return nil, fmt.Errorf("a tensor cannot be called %q, or is planned twice", p.Name)
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		head = le.AppendUint32(appendString(head, p.Name), uint32(len(p.Shape)))
		for _, d := range slices.Backward(p.Shape) {
			head = le.AppendUint64(head, uint64(d))
		}
		head = le.AppendUint64(le.AppendUint32(head, uint32(p.Type)), uint64(at))
		w.places[p.Name] = place{p, at}
		at = aligned(at + int64(p.Bytes()))
	}
	head = append(head, make([]byte, aligned(int64(len(head)))-int64(len(head)))...)
	if len(head) > maxHeader {
		return nil, fmt.Errorf("the metadata has %d bytes; at most %d are possible", len(head), maxHeader)
	}
	for name, p := range w.places {
		p.at += int64(len(head))
		w.places[name] = p
	}
	w.size = int64(len(head)) + at
	return head, nil
}

func aligned(n int64) int64 { return (n + defaultAlig - 1) &^ (defaultAlig - 1) }

// writePiece is how many elements are quantised before they are written.
const writePiece = 1 << 22

// WriteFloat32 stores a tensor, quantising it on all cores.
func (w *Writer) WriteFloat32(name string, data []float32) error {
	p, ok := w.places[name]
	if !ok {
		return fmt.Errorf("write tensor %q: it is not in the plan, or was written before", name)
	}
	if p.Elements() != len(data) {
		return fmt.Errorf("write tensor %s: %d elements were given", p.Info, len(data))
	}
	delete(w.places, name)
	elements, bytes := p.Type.Block()
	buf := make([]byte, min(len(data), writePiece)/elements*bytes)
	for at := p.at; len(data) > 0; {
		n := min(len(data), writePiece)
		b := buf[:n/elements*bytes]
		if err := Encode(b, data[:n], p.Type); err != nil {
			return fmt.Errorf("write tensor %s: %w", p.Info, err)
		}
		if _, err := w.file.WriteAt(b, at); err != nil {
			return err
		}
		data, at = data[n:], at+int64(len(b))
	}
	return nil
}

// Encode converts src, a whole number of blocks, to type t on all cores. It is an error if block types get numbers that are not finite, which they
// cannot hold, or if a number is too large for the type.
func Encode(dst []byte, src []float32, t Type) error {
	l := layouts[t]
	if l.encode == nil {
		return fmt.Errorf("hone does not write elements of type %v", t)
	}
	if len(src)%l.elements != 0 || len(src)/l.elements*l.bytes != len(dst) {
		return fmt.Errorf("%d elements of type %v do not fit %d bytes", len(src), t, len(dst))
	}
	if l.elements > 1 {
		if i := slices.IndexFunc(src, func(f float32) bool { return f-f != 0 }); i >= 0 {
			return fmt.Errorf("element %d is %v, which %v cannot hold; the weights are damaged", i, src[i], t)
		}
	}
	var first atomic.Int64 // the place of the first block that overflows, whichever core is done first
	first.Store(int64(len(src)))
	convert(len(src), func(from, to int) {
		out := dst[from/l.elements*l.bytes : to/l.elements*l.bytes]
		l.encode(out, src[from:to])
		block := l.overflow(out, src[from:to])
		at := int64(from + block*l.elements)
		for old := first.Load(); block >= 0 && at < old && !first.CompareAndSwap(old, at); {
			old = first.Load()
		}
	})
	if at := int(first.Load()); at < len(src) {
		value, _ := farthest(src[at : at+l.elements])
		return fmt.Errorf("a number near element %d is %v, which is too large for %v; use bf16 or f32", at, value, t)
	}
	return nil
}

// overflow is the first block with a number that became infinite on its way into a float16, -1 for none. It would come back as infinite or as no number.
func (l layout) overflow(dst []byte, src []float32) int {
	for block := range len(dst) / l.bytes {
		for _, at := range l.halves {
			if le.Uint16(dst[block*l.bytes+at:])&0x7c00 == 0x7c00 && (l.elements > 1 || src[block]-src[block] == 0) {
				return block
			}
		}
	}
	return -1
}

// Commit makes the file visible. All tensors must have been written.
func (w *Writer) Commit() error {
	defer w.file.Abort()
	for _, name := range slices.Sorted(maps.Keys(w.places)) {
		return fmt.Errorf("write tensor %q: it was planned but never written", name)
	}
	return w.file.Commit()
}

// Abort drops everything. It does nothing after Commit, so it can be deferred.
func (w *Writer) Abort() { w.file.Abort() }
