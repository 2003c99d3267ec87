package plan

import "testing"

// TestGPUOf finds the entries of names that drivers give: by whole words, for a name that only holds the letters of another is of another card.
func TestGPUOf(t *testing.T) {
	for card, want := range map[string]string{"NVIDIA H100 80GB HBM3": "h100", "NVIDIA H100 PCIe": "h100-pcie", "cuda (NVIDIA H200, sm_90, 150 GB)": "h200",
		"NVIDIA A100-SXM4-80GB": "a100", "NVIDIA A100-SXM4-40GB": "a100", "NVIDIA GeForce RTX 4090": "rtx4090", "NVIDIA L40S": "l40s", "cpu (2 threads)": "",
		"Tesla T4": "t4", "Tesla V100-SXM2-16GB": "v100", "NVIDIA A10G": "a10g", "NVIDIA A10": "a10", "NVIDIA L4": "l4", "NVIDIA RTX A6000": "a6000",
		"NVIDIA RTX 6000 Ada Generation": "rtx6000-ada", "NVIDIA GeForce RTX 3090 Ti": "rtx3090", "NVIDIA B200": "b200",
		"NVIDIA L40": "", "NVIDIA RTX A1000": "", "NVIDIA GeForce GT 430": "", "NVIDIA T400 4GB": "", "NVIDIA A1000 Laptop GPU": "", "": ""} {
		g, ok := GPUOf(card)
		if g.Name != want || ok != (want != "") {
			t.Errorf("%s is %q, want %q", card, g.Name, want)
		}
	}
}

// TestEveryGPU can be found by its name, and by that of a driver made of it; its numbers can be meant.
func TestEveryGPU(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range gpus {
		if found, err := FindGPU(g.Name); err != nil || found != g || seen[g.Name] {
			t.Errorf("%s is found as %+v, %v; seen %v", g.Name, found, err, seen[g.Name])
		}
		seen[g.Name] = true
		if found, ok := GPUOf("cuda (NVIDIA " + g.Name + ", sm_90)"); !ok || found != g {
			t.Errorf("the driver's %s is found as %q", g.Name, found.Name)
		}
		if !(g.TFLOPS > 0 && g.MemoryGB > 0 && g.Bandwidth > 0 && g.Watts > 0 && g.MFU > 0 && g.MFU < 1 && g.MFUMany > 0 && g.MFUMany <= g.MFU) {
			t.Errorf("%+v has a number that cannot be meant", g)
		}
		if j := (Job{GPU: g}); j.skyName() == "" {
			t.Errorf("SkyPilot's name of %s is not known", g.Name)
		}
	}
	for alias, name := range gpuAliases {
		if !seen[name] || seen[alias] {
			t.Errorf("the alias %s is of %s", alias, name)
		}
	}
}

// TestJobWords: what a scheduler's file quotes is read back as it was.
func TestJobWords(t *testing.T) {
	for text, want := range map[string]string{"runs/a-b_c.d": "runs/a-b_c.d", "": "''", "it's": `'it'\''s'`, "a b": "'a b'", "$HOME": "'$HOME'", "a=b:c": "a=b:c", "`x`": "'`x`'"} {
		if got := quoteShell(text); got != want {
			t.Errorf("the shell is given %s for %q, want %s", got, text, want)
		}
	}
	for text, want := range map[string]string{"a": `"a"`, `a"b`: `"a\"b"`, `a\b`: `"a\\b"`, "a\nb\tc": `"a\nb\tc"`, "yes": `"yes"`} {
		if got := quoteYAML(text); got != want {
			t.Errorf("YAML is given %s for %q, want %s", got, text, want)
		}
	}
	for minutes, want := range map[int]string{1: "0-00:01:00", 59: "0-00:59:00", 60: "0-01:00:00", 24 * 60: "1-00:00:00", 26*60 + 5: "1-02:05:00", 30 * 24 * 60: "30-00:00:00"} {
		if got := slurmTime(minutes); got != want {
			t.Errorf("%d minutes are %s, want %s", minutes, got, want)
		}
	}
	if got := indent(2, []byte("a\n b\n\n")); got != "  a\n   b" {
		t.Errorf("indented it is %q", got)
	}
	for provider, want := range map[string]string{"aws": "aws", "lambda": "lambda", "crusoe": "", "": ""} {
		if got := skyClouds(provider); got != want {
			t.Errorf("the cloud of %q is %q", provider, got)
		}
	}
	if a, b := (Job{Provider: "lambda", GPU: GPU{Name: "a6000"}}).skyName(), (Job{Provider: "aws", GPU: GPU{Name: "a6000"}}).skyName(); a != "A6000" || b != "RTXA6000" {
		t.Errorf("SkyPilot's names are %s and %s", a, b)
	}
}
