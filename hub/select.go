package hub

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// needed are the files of a model that hone reads, all at the top of the repository but for templates.
var needed = []string{"config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
	"tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja", "chat_template.json",
	"additional_chat_templates/*.jinja", "adapter_config.json"}

// choose returns, in the hub's order, the files to download: those that a pattern matches, or by default those that hone needs.
func choose(files []file, include []string) ([]file, error) {
	if len(include) > 0 {
		out := matching(files, include)
		if len(out) == 0 {
			return nil, fmt.Errorf("no file matches %s; the model has %s", strings.Join(include, ", "), list(files))
		}
		return out, nil
	}
	out := matching(files, needed)
	weights := func(f file) bool { return strings.HasSuffix(f.name, ".safetensors") }
	if slices.ContainsFunc(out, func(f file) bool { return weights(f) && strings.HasPrefix(f.name, "model") }) {
		out = slices.DeleteFunc(out, func(f file) bool { return strings.HasPrefix(f.name, "consolidated") }) // the same weights once more
	}
	if !slices.ContainsFunc(out, weights) {
		return nil, fmt.Errorf("the model has no .safetensors file; choose files with --include, as in --include '*.gguf': it has %s", list(files))
	}
	return out, nil
}

// matching returns the files whose path matches a pattern of path.Match: * stops at a slash, so a pattern without one matches at the top only.
// A pattern that is malformed matches nothing.
func matching(files []file, patterns []string) []file {
	return slices.DeleteFunc(slices.Clone(files), func(f file) bool {
		return !slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, f.name); return ok })
	})
}

// list names files for an error.
func list(files []file) string {
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	if len(names) > 20 {
		names = append(names[:20], fmt.Sprintf("and %d more", len(names)-20))
	}
	if len(names) == 0 {
		return "no files"
	}
	return strings.Join(names, ", ")
}
