package device

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// OutOfMemory is the panic value of an allocation that cannot be met.
type OutOfMemory struct {
	Device         string
	Asked          int64 // bytes
	For            Use
	InUse, Largest int64 // bytes held now, and the largest span that was free
	Total          int64 // of the device, or what may be used of it; 0 when that is not known
	Holders        []Holder
}

// Holder is who asked for memory that is in use: a function, such as "tensor.Linear".
type Holder struct {
	Use   Use
	Name  string
	Bytes int64
}

// Use is what memory is for.
type Use uint8

// The uses. Gradients are those of parameters and, in a backward pass, of activations.
const (
	Unknown Use = iota
	Weights
	Gradients
	OptimizerState
	Activations
	KVCache
	Workspace
)

// String is the use in the words of an OutOfMemory.
func (u Use) String() string {
	return [...]string{"something else", "weights", "gradients", "the optimizer's state", "activations", "keys and values", "workspace"}[u]
}

// remedy says what makes a use of memory smaller.
func (u Use) remedy() string {
	switch u {
	case Weights:
		return "use dtype=bf16 or method=qlora"
	case Gradients:
		return "use method=lora"
	case OptimizerState:
		return "set optimizer.name=adamw8bit or optimizer.paged=true"
	case KVCache:
		return "let fewer sequences be written at a time, or fewer new tokens"
	}
	return "lower batch_size or sequence_length, or set recompute=layers"
}

// Error says what was asked for, what holds the memory, and what would take less of it.
func (e *OutOfMemory) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s is out of memory: %d MiB asked for %s with %d MiB in use", e.Device, e.Asked>>20, e.For, e.InUse>>20)
	if e.Total > 0 {
		fmt.Fprintf(&s, " of %d MiB", e.Total>>20)
	}
	remedies := []string{e.For.remedy()}
	for i, u := range e.uses() {
		fmt.Fprintf(&s, "%s %s %d MiB (most by %s)", [...]string{":", ","}[min(i, 1)], u.Use, u.Bytes>>20, u.Name)
		if r := u.Use.remedy(); i == 0 && u.Use != Workspace && r != remedies[0] {
			remedies = append(remedies, r)
		}
	}
	return s.String() + "; " + strings.Join(remedies, "; or ")
}

// uses are the sums of the holders' uses, each with the name of its largest holder, most first.
func (e *OutOfMemory) uses() (sums []Holder) {
	most := map[Use]int64{}
	for _, h := range e.Holders {
		i := slices.IndexFunc(sums, func(s Holder) bool { return s.Use == h.Use })
		if i < 0 {
			i = len(sums)
			sums = append(sums, Holder{Use: h.Use})
		}
		sums[i].Bytes += h.Bytes
		if h.Bytes > most[h.Use] {
			most[h.Use], sums[i].Name = h.Bytes, h.Name
		}
	}
	slices.SortStableFunc(sums, func(a, b Holder) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return sums
}
