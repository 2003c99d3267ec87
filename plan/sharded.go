package plan

import "fmt"

// Sharded says how a model is spread over GPUs and what is trained of it.
type Sharded struct {
	Params    int64  // of the base model
	Linear    int64  // those of them that QLoRA quantises: the matrices of the layers
	Layer     int64  // of the largest layer
	Trainable int64  // all of them, or those of the adapter
	Method    string // full, lora, qlora or prompt
	EightBit  bool   // optimizer state in 8 bits
	GPUs      int
	ZeRO      int    // 0: all is on every GPU; 1: optimizer, 2: and gradients, 3: and weights are divided
	TP        int    // GPUs that share each layer
	Offload   string // none, optimizer or params: what is in the host's memory
	Copies    int    // frozen copies of the model beside it, such as DPO's reference
	// Activations are the bytes that a micro-batch keeps for the backward pass, Working those that a layer being
	// run again needs, Logits those of the loss.
	Activations, Working, Logits int64
}

// PerGPU is what each GPU holds, in bytes.
type PerGPU struct {
	Weights     int64 `json:"weights_bytes"`
	Gradients   int64 `json:"gradients_bytes"`
	Optimizer   int64 `json:"optimizer_bytes"`
	Activations int64 `json:"activations_bytes"`
	Logits      int64 `json:"logits_bytes"`
	Gathered    int64 `json:"gathered_bytes"` // layers that ZeRO 3 or offloading brings together to run them
	Reserved    int64 `json:"reserved_bytes"` // the driver's context and fragments
	Peak        int64 `json:"peak_bytes"`     // the sum
	Host        int64 `json:"host_bytes"`     // in the host's memory, for each GPU
	KVCache     int64 `json:"kv_cache_bytes"` // of a micro-batch when it is generated from; not in the peak
	Capacity    int64 `json:"gpu_memory_bytes"`
}

// Bytes of mixed-precision training with Adam (Rajbhandari et al., 2020, section 3.1): 16-bit weights and gradients, and
// 32-bit master weights, momentum and variance.
const (
	weightBytes   = 2
	gradientBytes = 2
	adamBytes     = 12
	// adam8Bytes is a 32-bit master and two 8-bit states with a 32-bit scale for 256 of them (Dettmers et al., 2022).
	adam8Bytes = 4 + 2*(1+4.0/256)
	// nf4Bytes is NF4 with double quantisation: 4 bits, and 0.127 bits for the scales (Dettmers et al., 2023).
	nf4Bytes = (4 + 0.127) / 8
	// reservedBytes is what a process of PyTorch or of CUDA's libraries takes before any tensor.
	reservedBytes = 1 << 30
)

// Memory is what each GPU holds. Activations are those of full training, for adapters, too, which may keep less.
func (s Sharded) Memory() (m PerGPU) {
	n, dp := float64(s.TP), float64(s.GPUs/s.TP)
	share := func(bytes float64, stage int) int64 {
		if s.ZeRO >= stage {
			bytes /= dp
		}
		return int64(bytes / n)
	}
	base, state := s.baseBytes(), float64(adamBytes)
	if s.EightBit {
		state = adam8Bytes
	}
	own := 0.0
	if s.Method != "full" {
		own = weightBytes * float64(s.Trainable)
	}
	m.Weights = share((base+own)+float64(s.Copies)*base, 3)
	m.Gradients = share(gradientBytes*float64(s.Trainable), 2)
	m.Optimizer = share(state*float64(s.Trainable), 1)
	if s.Offload != "none" {
		m.Host, m.Optimizer = m.Optimizer, 0
	}
	if s.Offload == "params" {
		m.Host, m.Weights = m.Host+m.Weights, 0
	}
	if s.ZeRO == 3 && s.GPUs > s.TP || s.Offload == "params" {
		m.Gathered = int64(2 * weightBytes * float64(s.Layer) / n) // one that runs and one that is fetched
	}
	m.Activations = int64(float64(s.Activations+s.Working) / n)
	m.Logits = int64(float64(s.Logits) / n)
	m.Reserved = reservedBytes
	m.Peak = m.Weights + m.Gradients + m.Optimizer + m.Activations + m.Logits + m.Gathered + m.Reserved
	return m
}

func (s Sharded) baseBytes() float64 {
	if s.Method == "qlora" {
		return nf4Bytes*float64(s.Linear) + weightBytes*float64(s.Params-s.Linear)
	}
	return weightBytes * float64(s.Params)
}

// Validate says what makes no sense.
func (s Sharded) Validate(heads int) error {
	switch {
	case s.GPUs < 1:
		return fmt.Errorf("gpus is %d; it must be at least 1", s.GPUs)
	case s.TP < 1 || s.GPUs%s.TP != 0:
		return fmt.Errorf("tensor_parallel is %d; it must divide the %d gpus", s.TP, s.GPUs)
	case heads%s.TP != 0:
		return fmt.Errorf("tensor_parallel is %d and the model has %d heads, which cannot be divided so", s.TP, heads)
	}
	return nil
}
