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
	Reference int64  // parameters of the frozen copy that DPO and PPO compare with; 0: none
	Reward    int64  // of a frozen reward model
	Critic    int64  // of a critic with a model of its own, trained as the policy is
	KVCache   int64  // bytes of keys and values while answers are written; 0: none are
	// Activations are the bytes that a micro-batch keeps for the backward pass, Working those that a layer being
	// run again needs, Logits those of the loss.
	Activations, Working, Logits int64
	Scratch                      int64 // of kernels, for the time of a call; see Scratch
}

// Scratch is the most that a kernel of device/cuda takes for the time of a call in a micro-batch of n tokens: a number for each token and head in the
// gradient of attention, or sums of columns in 64 parts and two kinds.
func Scratch(n, heads, hidden int) int64 { return 4 * int64(max(n*heads, 2*64*hidden)) }

// PerGPU is what each GPU holds, in bytes.
type PerGPU struct {
	Weights     int64 `json:"weights_bytes"`
	Reference   int64 `json:"reference_bytes,omitempty"`
	Reward      int64 `json:"reward_bytes,omitempty"`
	Critic      int64 `json:"critic_bytes,omitempty"` // with its gradients and optimizer
	Gradients   int64 `json:"gradients_bytes"`
	Optimizer   int64 `json:"optimizer_bytes"`
	Activations int64 `json:"activations_bytes"`
	Logits      int64 `json:"logits_bytes"`
	Gathered    int64 `json:"gathered_bytes"`  // layers that ZeRO 3 or offloading brings together to run them
	Reserved    int64 `json:"reserved_bytes"`  // the driver's context and fragments
	Workspace   int64 `json:"workspace_bytes"` // of device/cuda: the matrix library's, copies on their way, memory committed ahead, scratch
	Peak        int64 `json:"peak_bytes"`      // the sum; where answers are written the larger of training and writing, which has the cache but no gradients and activations
	Host        int64 `json:"host_bytes"`      // in the host's memory, for each GPU
	KVCache     int64 `json:"kv_cache_bytes"`  // of answers that are written side by side; in other stages of a micro-batch when it is generated from, and not in the peak
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
	// workspaceBytes is cuda.OwnBytes, which a test holds it to: this package, which recipes plan with, opens no library.
	workspaceBytes = 180 << 20
	// cardPagedBytes is cuda.PagedBytes, cardFewRows what a card's FewRows says, and the others are cuda's limits of products by NF4, by the same test.
	cardPagedBytes      = 30 << 20
	cardFewRows         = 512
	cardFewUnpackedRows = 16
	cardUnpackedRows    = 64
	cardUnpackedColumns = 12288
)

// Memory is what each GPU holds. Activations are those of full training, for adapters, too, which may keep less.
func (s Sharded) Memory() (m PerGPU) {
	n, dp := float64(s.TP), float64(s.GPUs/s.TP)
	// share is what one GPU holds: layers are divided by tensor parallelism, and from ZeRO's given stage on also what data-parallel copies hold.
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
	own := 0.0 // of an adapter
	if s.Method != "full" {
		own = weightBytes * float64(s.Trainable)
	}
	m.Weights = share(base+own, 3)
	m.Reference, m.Reward = share(weightBytes*float64(s.Reference), 3), share(weightBytes*float64(s.Reward), 3)
	if critic := float64(s.Critic); s.Method == "full" {
		m.Critic = share(weightBytes*critic, 3) + share(gradientBytes*critic, 2) + share(state*critic, 1)
	} else if critic > 0 {
		m.Critic = share(base, 3)
	}
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
	m.Reserved, m.Workspace = reservedBytes, workspaceBytes+int64(float64(s.Scratch)/n)
	m.KVCache = int64(float64(s.KVCache) / n)
	always := m.Weights + m.Reference + m.Reward + m.Critic + m.Optimizer + m.Gathered + m.Reserved + m.Workspace
	m.Peak = always + max(m.Gradients+m.Activations+m.Logits, m.KVCache)
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
