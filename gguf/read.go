package gguf

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"hone/internal/mapped"
)

// Tensor is a tensor in an open file.
type Tensor struct {
	Info
	Data []byte // mapped: read only, and not after the file is closed
}

// Float32 returns the elements, dequantised by all cores, in new memory.
func (t Tensor) Float32() ([]float32, error) {
	out := make([]float32, t.Elements())
	return out, Decode(out, t.Data, t.Type)
}

// Decode converts len(dst) elements of type t, a whole number of blocks, to float32: exactly, but for F64, which is rounded.
func Decode(dst []float32, src []byte, t Type) error {
	l := layouts[t]
	if l.decode == nil {
		return fmt.Errorf("elements of type %v are no floating-point numbers", t)
	}
	if len(dst)%l.elements != 0 || len(dst)/l.elements*l.bytes != len(src) {
		return fmt.Errorf("%d elements of type %v do not fit %d bytes", len(dst), t, len(src))
	}
	convert(len(dst), func(from, to int) {
		l.decode(dst[from:to], src[from/l.elements*l.bytes:to/l.elements*l.bytes])
	})
	return nil
}

// File is an open GGUF file. It is safe for concurrent use.
type File struct {
	Version  uint32
	Metadata Metadata
	Tensors  []Tensor // in the order of the file's list
	names    map[string]int
	file     *mapped.File
}

// Open maps the file at path and checks all of it but the tensors' data, which is loaded when it is touched.
func Open(path string) (*File, error) {
	m, err := mapped.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open weights: %w", err)
	}
	f, err := parse(m.Bytes())
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("open weights %s: %w", path, err)
	}
	f.file = m
	return f, nil
}

// Close gives the mapped memory back. Data of tensors may not be touched afterwards.
func (f *File) Close() error { return f.file.Close() }

// Tensor returns a tensor by name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.names[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

// Bounds of what a file may ask for; real files stay far below.
const (
	maxHeader   = 1 << 28 // bytes in front of the data
	maxRank     = 4
	maxElements = 1 << 46 // of a tensor
	maxName     = 1 << 16 // bytes of a key or a tensor's name
	maxAlign    = 1 << 20 // bytes
	magic       = "GGUF"  // the first four bytes
	alignment   = "general.alignment"
	defaultAlig = 32 // bytes, where the file does not say
)

// parse reads a whole file.
func parse(file []byte) (*File, error) {
	if len(file) < 24 || string(file[:4]) != magic {
		return nil, errors.New("this is no GGUF file: it does not begin with GGUF and a header")
	}
	d := &decoder{rest: file[4:min(len(file), maxHeader)], size: min(len(file), maxHeader)}
	f := &File{Version: uint32(d.uint(4))}
	switch {
	case f.Version == 1:
		return nil, errors.New("GGUF version 1 is from the format's first weeks and is not supported; convert the model again")
	case f.Version&0xffff == 0 && f.Version != 0:
		return nil, errors.New("the file is big-endian; convert the model for little-endian machines")
	case f.Version != 2 && f.Version != 3:
		return nil, fmt.Errorf("GGUF version %d is not supported; versions 2 and 3 are", f.Version)
	}
	tensors, pairs := d.uint(8), d.uint(8)
	// A tensor takes at least 24 bytes and a pair 13.
	if rest := uint64(len(d.rest)); tensors > rest/24 || pairs > rest/13 {
		return nil, fmt.Errorf("the header claims %d tensors and %d keys, more than the file has room for; it is cut short or damaged, copy it anew", tensors, pairs)
	}
	if err := d.metadata(f, int(pairs)); err != nil {
		return nil, err
	}
	offsets, err := d.tensors(f, int(tensors))
	if err != nil {
		return nil, err
	}
	return f, f.place(file, d.at(), offsets)
}

// metadata reads the pairs of keys and values.
func (d *decoder) metadata(f *File, n int) error {
	seen := make(map[string]bool, n)
	for range n {
		key := d.name("key")
		if seen[key] { // never behind an error, which ends all: no name is empty
			return fmt.Errorf("the key %q occurs twice", key)
		}
		seen[key] = true
		v := d.value(kind(d.uint(4)), true)
		if d.err != nil {
			return fmt.Errorf("the value of %q: %w", key, d.err)
		}
		f.Metadata = append(f.Metadata, Pair{key, v})
	}
	return nil
}

// tensors reads the list of tensors, and where each begins, counted from the start of the data.
func (d *decoder) tensors(f *File, n int) (offsets []uint64, err error) {
	f.names = make(map[string]int, n)
	for i := range n {
		info := Info{Name: d.name("tensor")}
		rank := d.uint(4)
		if d.err == nil && (rank == 0 || rank > maxRank) {
			return nil, fmt.Errorf("tensor %q has %d dimensions; 1 to %d are possible", info.Name, rank, maxRank)
		}
		for range rank { // a dimension that is too large stays too large, for check to refuse
			info.Shape = append(info.Shape, int(min(d.uint(8), maxElements+1)))
		}
		slices.Reverse(info.Shape)
		info.Type = Type(d.uint(4))
		offset := d.uint(8)
		if d.err != nil {
			return nil, fmt.Errorf("the list of tensors: %w", d.err)
		}
		if err := info.check(); err != nil {
			return nil, err
		}
		if _, twice := f.names[info.Name]; twice {
			return nil, fmt.Errorf("tensor %q occurs twice", info.Name)
		}
		f.names[info.Name] = i
		f.Tensors, offsets = append(f.Tensors, Tensor{Info: info}), append(offsets, offset)
	}
	return offsets, nil
}

// place finds the tensors' data behind the header, which ends at byte at: aligned, within the file, without overlap.
func (f *File) place(file []byte, at int, offsets []uint64) error {
	align := uint64(defaultAlig)
	if v, ok := f.Metadata.Get(alignment); ok {
		a, ok := v.(uint32)
		if !ok || a == 0 || a&(a-1) != 0 || a > maxAlign {
			return fmt.Errorf("%s is %v, which is no power of two up to %d", alignment, v, maxAlign)
		}
		align = uint64(a)
	}
	start := (uint64(at) + align - 1) &^ (align - 1) // offsets count from the next multiple of the alignment
	order := make([]int, len(f.Tensors))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(offsets[a], offsets[b]) })
	end := uint64(0)
	for k, i := range order {
		t := &f.Tensors[i]
		size := uint64(t.Info.Bytes())
		switch {
		case offsets[i]%align != 0:
			return fmt.Errorf("tensor %q begins at byte %d of the data, which is no multiple of the alignment %d", t.Name, offsets[i], align)
		case offsets[i] < end:
			return fmt.Errorf("tensor %q overlaps tensor %q", t.Name, f.Tensors[order[k-1]].Name)
		case start > uint64(len(file)) || offsets[i] > uint64(len(file))-start || size > uint64(len(file))-start-offsets[i]:
			return fmt.Errorf("tensor %q reaches beyond the end of the file, which is cut short; copy it anew", t.Name)
		}
		from := start + offsets[i]
		end = offsets[i] + size
		t.Data = file[from : from+size : from+size]
	}
	return nil
}
