package nn

import (
	"fmt"

	"hone/device"
)

// Activation is the function that a config.json names in hidden_act or activation_function.
func Activation(name string) (device.UnaryOp, error) {
	switch name {
	case "silu", "swish":
		return device.SiLU, nil
	case "gelu_new", "gelu_pytorch_tanh", "gelu_fast":
		return device.GELU, nil
	case "gelu":
		return device.GELUErf, nil
	case "relu":
		return device.ReLU, nil
	}
	return 0, fmt.Errorf("activation %q is unknown; use silu, gelu, gelu_new, gelu_pytorch_tanh or relu", name)
}

// Positive checks pairs of a config key and its value, which must be at least 1.
func Positive(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		if v := pairs[i+1].(int); v < 1 {
			return fmt.Errorf("config key %s is %d; it must be at least 1", pairs[i], v)
		}
	}
	return nil
}
