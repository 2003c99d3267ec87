package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"hone/internal/mapped"
)

// The names of weights in a model folder.
const (
	SingleName = "model.safetensors"
	IndexName  = "model.safetensors.index.json"
)

// Tensor is a tensor in an open archive.
type Tensor struct {
	Info
	Data []byte // little endian, row-major, mapped: read only, and not after the archive is closed
}

// Float32 returns the elements of a floating-point tensor converted to float32, in new memory.
func (t Tensor) Float32() ([]float32, error) {
	if !t.DType.Float() {
		return nil, fmt.Errorf("tensor %s holds no floating-point numbers", t.Info)
	}
	out := make([]float32, t.Elements())
	ToFloat32(out, t.Data, t.DType)
	return out, nil
}

// Slice is the elements lo to hi of the tensor, without a copy, as a tensor of one dimension.
func (t Tensor) Slice(lo, hi int) Tensor {
	size := t.DType.Size()
	return Tensor{Info{t.Name, t.DType, []int{hi - lo}}, t.Data[lo*size : hi*size : hi*size]}
}

// View is the data of an F32 or BF16 tensor as []float32 or []uint16 without a copy: read only, and not after the archive
// is closed. It is nil for other types, and where the machine orders or aligns bytes otherwise than the file.
func (t Tensor) View() any {
	if len(t.Data) == 0 || binary.NativeEndian.Uint16([]byte{1, 0}) != 1 || uintptr(unsafe.Pointer(&t.Data[0]))%uintptr(t.DType.Size()) != 0 {
		return nil
	}
	switch first := unsafe.Pointer(&t.Data[0]); t.DType {
	case F32:
		return unsafe.Slice((*float32)(first), t.Elements())
	case BF16:
		return unsafe.Slice((*uint16)(first), t.Elements())
	}
	return nil
}

// Archive is a set of tensors in one file or several. It is safe for concurrent use.
type Archive struct {
	files    []*mapped.File
	tensors  map[string]Tensor
	names    []string
	metadata map[string]string
}

// Open opens the weights at path: a .safetensors file, an index of shards (.json), or a model folder with either under the
// usual name. Everything is checked, but tensor data is loaded when it is touched.
func Open(path string) (*Archive, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open weights: %w", err)
	}
	if info.IsDir() {
		if path, err = inFolder(path); err != nil {
			return nil, err
		}
	}
	a := &Archive{tensors: map[string]Tensor{}, metadata: map[string]string{}}
	if strings.HasSuffix(path, ".json") {
		err = a.openIndex(path)
	} else {
		err = a.openFile(path, nil)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func inFolder(dir string) (string, error) {
	for _, name := range []string{SingleName, IndexName} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("open weights: %w", err)
		}
	}
	return "", fmt.Errorf("open weights: the folder %s has neither %s nor %s%s", dir, SingleName, IndexName, instead(dir))
}

// instead says what else a folder without weights has, and what to do with it.
func instead(dir string) string {
	files, _ := os.ReadDir(dir) // that the folder cannot be listed is no news about weights
	for _, other := range []struct{ pattern, remedy string }{
		{"pytorch_model*.bin", "it is in PyTorch's format, whose reader runs what is in a file; write the model anew with save_pretrained of transformers, or take a revision that has safetensors (on the hub often refs/pr/1)"},
		{"adapter_model.safetensors", "it is an adapter; give the model that it was made for, and this folder with --adapter"},
		{"consolidated*.safetensors", "its names are Mistral's own; take the model's files for transformers"},
		{"model-*-of-*.safetensors", "it is a shard, whose index must be copied, too"},
		{"*.safetensors", "give it that name if it has the model's weights"},
		{"*.gguf", "hone import makes a model folder of it"},
	} {
		for _, f := range files {
			if ok, _ := filepath.Match(other.pattern, f.Name()); ok {
				return fmt.Sprintf(", but %s: %s", f.Name(), other.remedy)
			}
		}
	}
	return "; copy the weights into it"
}

// Names returns the names of all tensors, in the order they lie in the files.
func (a *Archive) Names() []string { return a.names }

// Tensor returns a tensor by name.
func (a *Archive) Tensor(name string) (Tensor, bool) {
	t, ok := a.tensors[name]
	return t, ok
}

// Metadata returns the free text in the file, or that of all shards together.
func (a *Archive) Metadata() map[string]string { return a.metadata }

// Bytes returns the size of all tensors.
func (a *Archive) Bytes() int64 {
	n := int64(0)
	for _, t := range a.tensors {
		n += int64(len(t.Data))
	}
	return n
}

// Close gives the mapped memory back. Data of tensors may not be touched afterwards.
func (a *Archive) Close() error {
	var errs []error
	for _, f := range a.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// openFile adds the tensors of a file, or only the wanted ones.
func (a *Archive) openFile(path string, wanted map[string]bool) error {
	f, err := mapped.Open(path)
	if err != nil {
		if wanted != nil && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("open weights: there is no file %s, which the index names; copy the model's folder anew", path)
		}
		return fmt.Errorf("open weights: %w", err)
	}
	a.files = append(a.files, f)
	h, err := parseHeader(f.Bytes())
	if errors.Is(err, errType) {
		return fmt.Errorf("open weights %s: %w", path, err)
	}
	if err != nil {
		return fmt.Errorf("open weights %s: %w; copy the file anew", path, err)
	}
	for k, v := range h.metadata {
		a.metadata[k] = v
	}
	data := f.Bytes()[h.size:]
	for _, e := range h.entries {
		if wanted == nil || wanted[e.Name] {
			a.tensors[e.Name] = Tensor{e.Info, data[e.begin:e.end:e.end]}
			a.names = append(a.names, e.Name)
		}
	}
	return nil
}

func (a *Archive) openIndex(path string) error {
	shards, tensors, err := readIndex(path)
	if err != nil {
		return fmt.Errorf("open weights %s: %w", path, err)
	}
	for _, name := range shards {
		wanted := tensors[name]
		before := len(a.names)
		if err := a.openFile(filepath.Join(filepath.Dir(path), name), wanted); err != nil {
			return err
		}
		for _, n := range a.names[before:] {
			delete(wanted, n)
		}
		for n := range wanted {
			return fmt.Errorf("open weights %s: tensor %q is not in %s, where the index says it is", path, n, name)
		}
	}
	return nil
}

// readIndex returns the shards of an index in the order they are first named, and the tensors of each.
func readIndex(path string) (shards []string, tensors map[string]map[string]bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	// the index is read as a stream, but its names are kept, so its size is bounded as that of a header
	if info.Size() > maxHeader {
		return nil, nil, fmt.Errorf("an index of %d bytes is too large", info.Size())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	tensors = map[string]map[string]bool{}
	err = object(dec, func(key string) error {
		if key != "weight_map" {
			var skip json.RawMessage
			return dec.Decode(&skip)
		}
		return object(dec, func(tensor string) error {
			var shard string
			err := dec.Decode(&shard)
			if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
				return fmt.Errorf("the index has a %s for tensor %q, and no file; copy the model's folder anew", wrong.Value, tensor)
			}
			if err != nil {
				return err
			}
			if err := checkShardName(shard); err != nil {
				return err
			}
			if tensors[shard] == nil {
				tensors[shard] = map[string]bool{}
				shards = append(shards, shard)
			}
			tensors[shard][tensor] = true
			return nil
		})
	})
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the index is cut short; copy the model's folder anew")
	case err == nil && len(shards) == 0:
		err = errors.New("the index names no tensors")
	}
	return shards, tensors, err
}

// checkShardName keeps an index from reaching outside its folder.
func checkShardName(name string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\:\x00") {
		return fmt.Errorf("the index names the file %q, which is not a plain file name", name)
	}
	return nil
}
