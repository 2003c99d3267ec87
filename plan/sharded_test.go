package plan_test

import (
	"testing"

	"hone/device/cuda"
	"hone/plan"
)

// TestWorkspace: a plan knows what device/cuda takes for itself, and the scratch of its kernels.
func TestWorkspace(t *testing.T) {
	s := plan.Sharded{Params: 1e6, Method: "full", GPUs: 1, TP: 1, Offload: "none"}
	if got := s.Memory().Workspace; got != cuda.OwnBytes {
		t.Errorf("the workspace is %d bytes, of device/cuda %d", got, cuda.OwnBytes)
	}
	if s.Scratch = plan.Scratch(1<<16, 32, 4096); s.Memory().Workspace != cuda.OwnBytes+4*(1<<16)*32 {
		t.Errorf("with scratch it is %d bytes", s.Memory().Workspace)
	}
	if got := plan.Scratch(16, 32, 4096); got != 4*128*4096 {
		t.Errorf("the scratch of a short batch is %d bytes", got)
	}
}
