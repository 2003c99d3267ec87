package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hone/internal/atomicfile"
	"hone/safetensors"
)

// beside are the files of a model folder that stay as they are.
var beside = []string{"generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt",
	"added_tokens.json", "special_tokens_map.json", "chat_template.jinja", "additional_chat_templates/tool_use.jinja"}

// Copy writes the model folder from to dir, which it makes, with weights of type stored (0: as they are) in files of at most shardBytes
// where tensors allow, and returns the bytes of weights. config.json comes last. When ctx is done it stops with that error.
func Copy(ctx context.Context, dir, from string, stored safetensors.DType, shardBytes int64) (int64, error) {
	text, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err != nil {
		return 0, fmt.Errorf("copy model: %w", err)
	}
	if _, err := parseConfig(text); err != nil {
		return 0, fmt.Errorf("copy model %s: %w", from, err)
	}
	if stored != 0 {
		if text, err = withType(text, stored); err != nil {
			return 0, fmt.Errorf("copy model %s: %w", from, err)
		}
	}
	// opened, and so checked, before anything is written
	weights, err := safetensors.Open(from)
	if err != nil {
		return 0, err
	}
	defer weights.Close()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return 0, fmt.Errorf("copy model: %w", err)
	}
	n, err := copyWeights(ctx, dir, weights, stored, shardBytes)
	if err != nil {
		return 0, fmt.Errorf("copy model %s: %w", from, err)
	}
	for _, name := range beside {
		data, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o777)
		}
		if err == nil {
			err = atomicfile.WriteFile(to, data)
		}
		if err != nil {
			return 0, fmt.Errorf("copy model %s: %w", from, err)
		}
	}
	return n, atomicfile.WriteFile(filepath.Join(dir, "config.json"), text)
}

// copyWeights copies tensors in their order, one in memory at a time, and returns their bytes. Integers keep their type.
func copyWeights(ctx context.Context, dir string, weights *safetensors.Archive, stored safetensors.DType, shardBytes int64) (n int64, err error) {
	var plan []safetensors.Info
	for _, name := range weights.Names() {
		t, _ := weights.Tensor(name)
		info := t.Info
		if stored != 0 && info.DType.Float() {
			info.DType = stored
		}
		plan, n = append(plan, info), n+int64(info.Bytes())
	}
	w, err := safetensors.CreateModel(dir, plan, shardBytes)
	if err != nil {
		return 0, err
	}
	defer w.Abort()
	for _, info := range plan {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		t, _ := weights.Tensor(info.Name)
		if info.DType == t.DType { // bytes as they are mapped, without a copy on the heap
			err = w.Write(info.Name, t.Data)
		} else {
			var v []float32
			if v, err = t.Float32(); err == nil {
				err = w.WriteFloat32(info.Name, v)
			}
		}
		if err != nil {
			return 0, err
		}
	}
	return n, w.Commit()
}
