package safetensors

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"hone/internal/atomicfile"
)

// DefaultShardBytes is the usual size of a shard: 5 GB, as the hub library writes them.
const DefaultShardBytes = 5_000_000_000

// ParseSize reads the size of a shard as the hub library does: 5GB, 500MB (powers of 1000), 2GiB (powers of 1024), or a number
// of bytes; the empty text is 0.
func ParseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	number, unit := strings.TrimSpace(s), int64(1)
	for name, size := range map[string]int64{"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40} {
		if rest, ok := strings.CutSuffix(strings.ToUpper(number), name); ok {
			number, unit = strings.TrimSpace(rest), size
			break
		}
	}
	x, err := strconv.ParseFloat(number, 64)
	if n := x * float64(unit); err == nil && n >= 1 && n < math.MaxInt64 {
		return int64(n), nil
	}
	return 0, fmt.Errorf("size %q is unknown; write it as 5GB, 500MB or 2GiB", s)
}

// Writer writes the tensors of a plan, in any order, one at a time in memory. Nothing is visible before Commit.
//
//	w, err := safetensors.Create(path, plan, nil)      // the header is written: every size and place is known
//	defer w.Abort()
//	err = w.WriteFloat32(plan[0].Name, values)         // … for each tensor
//	err = w.Commit()
type Writer struct {
	files   []*fileWriter
	dir     string            // of a model folder; "" for a single file
	places  map[string]place  // tensors not written yet
	weights map[string]string // tensor to file name, for the index
	total   int64
}

type place struct {
	file *fileWriter
	entry
}

type fileWriter struct {
	*atomicfile.File
	name string
	base int // where the data starts
}

// Create starts the file at path with the given tensors; metadata may be nil. Within the file tensors are ordered by element
// size, then as planned, so that each is aligned. End with Commit; Abort may be deferred.
func Create(path string, plan []Info, metadata map[string]string) (*Writer, error) {
	w := &Writer{places: map[string]place{}, weights: map[string]string{}}
	if err := checkPlan(plan); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	if err := w.add(path, plan, metadata); err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// CreateModel starts the weights of a model folder: one file if they fit shardBytes (0: DefaultShardBytes), else shards with
// an index. A shard holds at least one tensor. The files say {"format": "pt"}, which other programs look for. Commit replaces
// weights that the folder had; a crash in the middle of replacing shards can leave a mixture, so where the old weights matter
// write to a new folder and complete it with atomicfile.Mark.
func CreateModel(dir string, plan []Info, shardBytes int64) (*Writer, error) {
	if shardBytes <= 0 {
		shardBytes = DefaultShardBytes
	}
	if err := checkPlan(plan); err != nil {
		return nil, fmt.Errorf("write weights to %s: %w", dir, err)
	}
	shards := cut(plan, shardBytes)
	w := &Writer{dir: dir, places: map[string]place{}, weights: map[string]string{}}
	for i, part := range shards {
		name := SingleName
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		if err := w.add(filepath.Join(dir, name), part, map[string]string{"format": "pt"}); err != nil {
			w.Abort()
			return nil, err
		}
	}
	return w, nil
}

func checkPlan(plan []Info) error {
	seen := map[string]bool{}
	for _, p := range plan {
		switch {
		case p.Name == "" || p.Name == metadataKey || !utf8.ValidString(p.Name):
			return fmt.Errorf("a tensor cannot be called %q", p.Name)
		case seen[p.Name]:
			return fmt.Errorf("tensor %q is planned twice", p.Name)
		case p.DType == 0 || int(p.DType) >= len(dtypes):
			return fmt.Errorf("tensor %q has no element type", p.Name)
		}
		if err := p.check(); err != nil {
			return err
		}
		seen[p.Name] = true
	}
	return nil
}

// cut splits the plan into runs of up to size bytes, at least one.
func cut(plan []Info, size int64) [][]Info {
	var out [][]Info
	start, sum := 0, int64(0)
	for i, p := range plan {
		n := int64(p.Bytes())
		if i > start && sum+n > size {
			out = append(out, plan[start:i])
			start, sum = i, 0
		}
		sum += n
	}
	return append(out, plan[start:])
}

// add starts a file of the archive and writes its header.
func (w *Writer) add(path string, plan []Info, metadata map[string]string) error {
	h := &header{metadata: metadata}
	for _, p := range plan {
		h.entries = append(h.entries, entry{Info: p})
	}
	// the widest types first: data begins at a multiple of 8, so each tensor begins at a multiple of its element
	slices.SortStableFunc(h.entries, func(a, b entry) int { return cmp.Compare(b.DType.Size(), a.DType.Size()) })
	at := 0
	for i := range h.entries {
		e := &h.entries[i]
		e.begin, e.end = at, at+e.Info.Bytes()
		if e.end < at {
			return fmt.Errorf("write %s: the tensors are too large together", path)
		}
		at = e.end
	}
	head, err := h.encode()
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	file, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	f := &fileWriter{File: file, name: filepath.Base(path), base: len(head)}
	w.files = append(w.files, f)
	for _, e := range h.entries {
		w.places[e.Name] = place{f, e}
		w.weights[e.Name] = f.name
	}
	w.total += int64(at)
	_, err = f.WriteAt(head, 0)
	return err
}

// take returns where a tensor goes if the data fits, once.
func (w *Writer) take(name string, fits func(Info) bool) (place, error) {
	p, ok := w.places[name]
	if !ok {
		return p, fmt.Errorf("write tensor %q: it is not in the plan, or was written before", name)
	}
	if !fits(p.Info) {
		return p, fmt.Errorf("write tensor %s: the data has another size or type", p.Info)
	}
	delete(w.places, name)
	return p, nil
}

// Write stores the data of a tensor: little endian, row-major, exactly of the planned size.
func (w *Writer) Write(name string, data []byte) error {
	p, err := w.take(name, func(i Info) bool { return i.Bytes() == len(data) })
	if err != nil {
		return err
	}
	_, err = p.file.WriteAt(data, int64(p.file.base+p.begin))
	return err
}

// WriteFloat32 stores a tensor of a floating-point type, converting from float32 a piece at a time.
func (w *Writer) WriteFloat32(name string, data []float32) error {
	p, err := w.take(name, func(i Info) bool { return i.DType.Float() && i.Elements() == len(data) })
	if err != nil {
		return err
	}
	if p.DType == F16 {
		if i := slices.IndexFunc(data, tooLarge); i >= 0 {
			return fmt.Errorf("write tensor %s: element %d is %v, which is too large for F16; use bf16 or f32", p.Info, i, data[i])
		}
	}
	size := p.DType.Size()
	buf := make([]byte, min(len(data)*size, 1<<20))
	for at := int64(p.file.base + p.begin); len(data) > 0; {
		n := min(len(data), len(buf)/size)
		FromFloat32(buf[:n*size], data[:n], p.DType)
		if _, err := p.file.WriteAt(buf[:n*size], at); err != nil {
			return err
		}
		data, at = data[n:], at+int64(n*size)
	}
	return nil
}

// tooLarge tells whether a finite number is infinite in F16.
func tooLarge(f float32) bool {
	const first = 65520 // half way from the last that F16 has, 65504, to where the next would be
	return math.Abs(float64(f)) >= first && !math.IsInf(float64(f), 0)
}

// Commit makes the files visible, the index last, and removes weights that they replace. All tensors must have been written.
func (w *Writer) Commit() error {
	defer w.Abort()
	for _, name := range slices.Sorted(maps.Keys(w.places)) { // the first one left is the error, the same in every run
		return fmt.Errorf("write tensor %q: it was planned but never written", name)
	}
	for _, f := range w.files {
		if err := f.Commit(); err != nil {
			return err
		}
	}
	if w.dir == "" {
		return nil
	}
	if len(w.files) > 1 {
		if err := w.writeIndex(); err != nil {
			return err
		}
	}
	return w.removeOld()
}

// Abort drops everything. It does nothing after Commit, so it can be deferred.
func (w *Writer) Abort() {
	for _, f := range w.files {
		f.Abort()
	}
}

func (w *Writer) writeIndex() error {
	type metadata struct {
		TotalSize int64 `json:"total_size"`
	}
	index, err := json.MarshalIndent(struct {
		Metadata  metadata          `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}{metadata{w.total}, w.weights}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteTo(filepath.Join(w.dir, IndexName), func(out io.Writer) error {
		_, err := out.Write(append(index, '\n'))
		return err
	})
}

var shardName = regexp.MustCompile(`^model-\d{5}-of-\d{5}\.safetensors$`)

// removeOld removes the weights that the folder had before: readers would find two models otherwise.
func (w *Writer) removeOld() error {
	written := map[string]bool{}
	for _, f := range w.files {
		written[f.name] = true
	}
	written[IndexName] = len(w.files) > 1
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return fmt.Errorf("clear old weights: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		old := name == SingleName || name == IndexName || shardName.MatchString(name)
		if !old || written[name] {
			continue
		}
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clear old weights: %w", err)
		}
	}
	return nil
}
