package model

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"hone/device"
	"hone/nn"
	"hone/safetensors"
)

// source is a parameter and the tensor, or the part of one, that a checkpoint has for it.
type source struct {
	nn.Named
	tensor safetensors.Tensor
	dst    device.Buffer // where its values are to be
}

// elsewhere is a model that also reads checkpoints of other layouts.
type elsewhere interface{ Elsewhere(name string) []nn.Place }

// load fills the parameters from a checkpoint. Tensors that no parameter asks for are an error where they
// belong to what the model computes; others, such as layers that predict further tokens, are left out and
// their names kept in LeftOut. The ignored ones are neither: they are for the caller, or for nobody.
func (m *Model) load(weights *safetensors.Archive, dtype device.DType, ignored ...string) error {
	sources, err := m.match(weights, ignored)
	if err != nil {
		return err
	}
	m.Weights = fingerprint(sources)
	m.read = map[string]string{}
	for _, s := range sources {
		if whole, _ := weights.Tensor(s.tensor.Name); whole.Name != s.Name && slices.Equal(whole.Shape, s.Shape) {
			m.read[s.Name] = whole.Name
		}
	}
	order := map[string]int{}
	for i, name := range weights.Names() {
		order[name] = i
	}
	slices.SortStableFunc(sources, func(a, b source) int { // a disk reads fastest from front to back
		return cmp.Compare(order[a.tensor.Name], order[b.tensor.Name])
	})
	var whole []source
	for _, s := range sources {
		if s.Storage != device.Unpacked {
			m.pack(s, dtype)
			continue
		}
		s.Alloc(m.dev, nn.DTypeOf(s.Param, dtype))
		s.dst = s.Buffer()
		whole = append(whole, s)
	}
	fill(m.dev, whole)
	return nil
}

// pack fills a parameter in few bits; its values are in memory in full for that time alone.
func (m *Model) pack(s source, dtype device.DType) {
	s.dst = m.dev.Alloc(s.Len(), device.F32)
	defer m.dev.Free(s.dst)
	fill(m.dev, []source{s})
	s.PackBuffer(m.dev, dtype, s.Storage, s.dst)
}

// fingerprint hashes the names of the tensors and the first and last values of each: training moves nearly
// all of them, and to read everything twice would take as long as loading.
func fingerprint(sources []source) uint64 {
	const sample = 4 << 10
	h := xxh3.New()
	for _, s := range sources {
		data := s.tensor.Data
		fmt.Fprintf(h, "%q %v %v %d\n", s.Name, s.tensor.DType, s.tensor.Shape, len(data))
		h.Write(data[:min(sample, len(data))])   //nolint:errcheck // a hash takes everything
		h.Write(data[max(0, len(data)-sample):]) //nolint:errcheck
	}
	return h.Sum64()
}

// match finds the tensor of each parameter, and names in LeftOut those that no parameter asks for. One
// error lists all that does not fit.
func (m *Model) match(weights *safetensors.Archive, ignored []string) ([]source, error) {
	var sources []source
	var bad mismatch
	used, parts := map[string]bool{}, map[string]bool{}
	for _, p := range m.Params {
		t, shape, ok := m.lookup(weights, p)
		// what is ignored is no other place of a parameter: a scorer's language model has an output
		// layer, which is not its embedding
		if !ok || t.Name != p.Name && slices.Contains(ignored, t.Name) {
			bad.missing = append(bad.missing, p.Name)
			continue
		}
		used[t.Name], parts[part(t.Name)] = true, true
		switch {
		case !slices.Equal(t.Shape, shape):
			bad.misfits = append(bad.misfits, fmt.Sprintf("%s has shape %v in the checkpoint and %v by config.json",
				t.Name, t.Shape, shape))
		case !t.DType.Float():
			bad.misfits = append(bad.misfits, fmt.Sprintf("%s holds %v, which are no weights that hone reads", t.Name, t.DType))
		default:
			sources = append(sources, source{Named: p, tensor: t})
		}
	}
	m.LeftOut = nil
	for _, name := range weights.Names() {
		tied := m.tiedName(name)
		switch {
		case used[name] || idle(name) || slices.Contains(ignored, name) || tied && m.sameAsEmbedding(weights, name, sources):
		case tied:
			bad.untied = append(bad.untied, name)
		case parts[part(name)]:
			bad.extra = append(bad.extra, name)
		default:
			m.LeftOut = append(m.LeftOut, name)
		}
	}
	if len(bad.missing) > 0 { // what is left over may be what is missing, by another name
		bad.extra = append(bad.extra, m.LeftOut...)
	}
	return sources, bad.err(weights, len(m.Params))
}

// mismatch is what of a checkpoint does not fit a model.
type mismatch struct {
	missing []string // parameters without a tensor
	misfits []string // sentences on tensors of another shape or type
	extra   []string // tensors of what the model computes that no parameter asks for
	untied  []string // an output layer where config.json says that it is the embedding
}

// err says all of it at once, for a model of so many parameters; nil when everything fits.
func (b *mismatch) err(weights *safetensors.Archive, params int) error {
	slices.Sort(b.misfits)
	misfits := slices.Compact(b.misfits) // several parameters may lie in one tensor
	var problems []string
	for _, p := range []struct {
		what  string
		names []string
	}{
		{fmt.Sprintf("it lacks %d of %d tensors", len(b.missing), params), b.missing},
		{fmt.Sprintf("%d tensors have another shape or type", len(misfits)), misfits},
		{fmt.Sprintf("it has %d tensors that config.json does not ask for", len(b.extra)), b.extra},
		{"it has an output layer that is not the embedding, so tie_word_embeddings should be false in config.json", b.untied},
	} {
		if len(p.names) > 0 {
			problems = append(problems, p.what+" ("+some(p.names)+")")
		}
	}
	if head, ok := weights.Tensor("score.weight"); ok && len(b.missing) == 1 && len(problems) == 1 {
		return notLanguage(head)
	}
	if len(problems) > 0 {
		return errors.New("the checkpoint does not fit config.json: " + strings.Join(problems, "; ") + "; is it of another model?")
	}
	return nil
}

// notLanguage is the error of a checkpoint with a scalar head, or one of labels, in the place of the output layer.
func notLanguage(head safetensors.Tensor) error {
	if len(head.Shape) == 2 && head.Shape[0] > 1 {
		return fmt.Errorf("this is a classifier with %d labels in the place of the output layer, which hone has no use for; "+
			"give a language model, or a reward model of one label", head.Shape[0])
	}
	return errors.New("this is a reward model, which has a scalar head in the place of the output layer; hone score takes it, and the key reward of recipes")
}

// checkLanguage refuses a scalar head on a model whose output layer is its embedding: no tensor of the one is
// missing that would tell it from a language model, but what it was trained on is not to predict tokens.
func (m *Model) checkLanguage(weights *safetensors.Archive) error {
	head, ok := weights.Tensor("score.weight")
	if !ok || !m.Shape().Tied {
		return nil
	}
	var config struct{ Architectures []string }
	if err := nn.ReadConfig(m.Config, &config); err != nil {
		return err
	}
	for _, class := range config.Architectures { // a language model with a stray tensor
		if strings.HasSuffix(class, "ForCausalLM") || strings.HasSuffix(class, "LMHeadModel") {
			return nil
		}
	}
	return notLanguage(head)
}

// part is the layer that a tensor belongs to (model.layers.3 of model.layers.3.mlp.up_proj.weight) or,
// outside of layers, its module: a model that has one tensor of a part computes with all that is in it.
func part(name string) string {
	at := 0
	for field := range strings.SplitSeq(name, ".") {
		at += len(field)
		if _, err := strconv.Atoi(field); err == nil {
			return name[:at]
		}
		at++
	}
	return name[:max(strings.LastIndexByte(name, '.'), 0)]
}

// some lists the first of many names.
func some(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// lookup finds the tensor of a parameter, or its part of one, by its name or else where checkpoints of other layouts
// have it, and the shape that it must have.
func (m *Model) lookup(weights *safetensors.Archive, p nn.Named) (t safetensors.Tensor, shape []int, ok bool) {
	if t, ok = weights.Tensor(p.Name); ok {
		return t, p.Shape, true
	}
	for _, place := range m.places(p) {
		t, ok = weights.Tensor(place.Name)
		switch {
		case !ok:
			continue
		case place.Shape == nil:
			return t, p.Shape, true
		case !slices.Equal(t.Shape, place.Shape):
			return t, place.Shape, true
		}
		t = t.Slice(place.Offset, place.Offset+p.Len())
		t.Shape = p.Shape
		return t, p.Shape, true
	}
	return t, nil, false
}

// places are where a checkpoint may have a parameter, other than by its name:
//   - where the architecture's other layouts have it;
//   - by any of these names without that of the body in front, as in a model that was saved without its output layer;
//   - as the output layer, for an embedding that is both: of two names of one tensor some programs keep that one.
func (m *Model) places(p nn.Named) []nn.Place {
	var list []nn.Place
	if other, ok := m.Model.(elsewhere); ok {
		list = other.Elsewhere(p.Name)
	}
	for _, place := range append([]nn.Place{{Name: p.Name}}, list...) {
		for _, body := range bodies {
			if short, ok := strings.CutPrefix(place.Name, body); ok {
				place.Name = short
				list = append(list, place)
			}
		}
	}
	if m.Shape().Tied && p.Tensor == m.Head().Weight {
		list = append(list, nn.Place{Name: "lm_head.weight"}, nn.Place{Name: "embed_out.weight"})
	}
	return list
}

// bodies are what the names of all parameters but those of the output layer begin with.
var bodies = []string{"model.", "transformer.", "gpt_neox."}

// idle tells whether a tensor carries nothing that a text model computes with: buffers that older versions of
// transformers saved, heads of reward models, and the parts of models that also see images.
func idle(name string) bool {
	for _, end := range []string{
		"rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", "position_ids",
	} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	for _, start := range []string{
		"score.", "v_head.", "vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector.",
	} {
		if strings.HasPrefix(name, start) {
			return true
		}
	}
	return false
}

// tiedName tells whether a tensor is named as the output layer of a model that shares it with the embedding.
func (m *Model) tiedName(name string) bool {
	return m.Shape().Tied && (strings.HasSuffix(name, "lm_head.weight") || name == "embed_out.weight")
}

// sameAsEmbedding tells whether an output layer is the embedding, stored a second time. One with other
// numbers is not: then config.json is wrong to say that they are tied.
func (m *Model) sameAsEmbedding(weights *safetensors.Archive, name string, sources []source) bool {
	head := m.Head().Weight
	for _, s := range sources {
		if s.Tensor == head {
			t, _ := weights.Tensor(name)
			return t.DType == s.tensor.DType && bytes.Equal(t.Data, s.tensor.Data)
		}
	}
	return true // the embedding is missing, which is an error of its own
}

// piece is how many elements are converted at a time: as many as a core's cache holds.
const piece = 1 << 16

// fill writes the tensors to where they are to be, a piece at a time on every core.
func fill(dev device.Device, sources []source) {
	type job struct {
		source
		lo int
	}
	var jobs []job
	for _, s := range sources {
		for lo := 0; lo < s.Len(); lo += piece {
			jobs = append(jobs, job{s, lo})
		}
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		workers.Go(func() {
			var wide []float32
			var narrow []uint16
			for i := int(next.Add(1)) - 1; i < len(jobs); i = int(next.Add(1)) - 1 {
				j := jobs[i]
				hi := min(j.lo+piece, j.Len())
				part, dst := j.tensor.Slice(j.lo, hi), j.dst.Slice(j.lo, hi)
				switch view := part.View(); {
				case view != nil:
					dev.Write(dst, view)
				case dst.DType == device.BF16 && part.DType == safetensors.F64: // by way of float32 it would be rounded twice
					narrow = slices.Grow(narrow[:0], hi-j.lo)[:hi-j.lo]
					safetensors.ToBFloat16(narrow, part.Data, part.DType)
					dev.Write(dst, narrow)
				default:
					wide = slices.Grow(wide[:0], hi-j.lo)[:hi-j.lo]
					safetensors.ToFloat32(wide, part.Data, part.DType)
					dev.Write(dst, wide)
				}
			}
		})
	}
	workers.Wait()
}
