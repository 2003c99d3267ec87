package plan

import "testing"

// TestGPUOf finds the entries of names that drivers give.
func TestGPUOf(t *testing.T) {
	for card, want := range map[string]string{"NVIDIA H100 80GB HBM3": "h100", "NVIDIA H100 PCIe": "h100-pcie", "cuda (NVIDIA H200, sm_90, 150 GB)": "h200",
		"NVIDIA A100-SXM4-80GB": "a100", "NVIDIA A100-SXM4-40GB": "a100", "NVIDIA GeForce RTX 4090": "rtx4090", "NVIDIA L40S": "l40s", "cpu (2 threads)": ""} {
		g, ok := GPUOf(card)
		if g.Name != want || ok != (want != "") {
			t.Errorf("%s is %q, want %q", card, g.Name, want)
		}
	}
}
