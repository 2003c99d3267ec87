package optim

import (
	"fmt"
	"strings"
)

// NonFinite is the error of a step whose gradients are NaN or infinite, or whose
// squares overflow. No weight was changed.
type NonFinite struct {
	Norm    float64     // the global norm, NaN or Inf
	Tensors []BadTensor // the parameters whose gradients are at fault, in order
}

// BadTensor names a parameter whose gradient is at fault.
type BadTensor struct {
	Name string
	Bad  int // elements that are NaN or Inf; 0 when only the sum of squares overflows
	Len  int // elements in all
}

// Error names the first parameters at fault and counts the others.
func (e *NonFinite) Error() string {
	const shown = 3
	var names []string
	for _, t := range e.Tensors[:min(shown, len(e.Tensors))] {
		names = append(names, t.String())
	}
	if more := len(e.Tensors) - shown; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	if len(names) == 0 {
		return fmt.Sprintf("the gradient norm is %v", e.Norm)
	}
	return fmt.Sprintf("the gradient norm is %v: %s", e.Norm, strings.Join(names, ", "))
}

// Names lists the tensors at fault.
func (e *NonFinite) Names() []string {
	names := make([]string, len(e.Tensors))
	for i, t := range e.Tensors {
		names[i] = t.Name
	}
	return names
}

// String is the parameter and how many of its elements are at fault.
func (t BadTensor) String() string {
	if t.Bad == 0 {
		return t.Name + " (too large to square)"
	}
	return fmt.Sprintf("%s (%d of %d elements)", t.Name, t.Bad, t.Len)
}
