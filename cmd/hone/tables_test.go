package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"hone/cmd/hone/clitest"
	"hone/data/curate"
	"hone/plan"
	"hone/recipe/cluster"
)

// TestFunnelInWords: what each step of a curation left, in units that suit the size, with reasons by their number.
func TestFunnelInWords(t *testing.T) {
	c := func(n, size int64) curate.Count { return curate.Count{Documents: n, Bytes: size} }
	r := &curate.Result{Read: c(100, 2_000_000), Searched: []string{"exact"}, Exact: c(10, 100_000),
		Steps: []curate.StepCount{{Name: "words", Kept: c(60, 1_000_000), Changed: 3, Rejected: map[string]curate.Count{"few": c(30, 1), "odd": c(10, 1)}}}}
	var out bytes.Buffer
	funnel(&out, r, "documents")
	want := []string{"documents text of all", "read 100 2.0 MB 100.0%", "words 60 1.0 MB 50.0% 3 changed, 30 few, 10 odd", "exact duplicates 50 0.9 MB 45.0% 10 removed"}
	if got := clitest.Squeezed(out.String()); !slices.Equal(got, want) {
		t.Errorf("the funnel is %q, want %q", got, want)
	}
	out.Reset()
	r = &curate.Result{Read: curate.Count{Documents: 1, Bytes: 500, Tokens: 120}}
	funnel(&out, r, "records")
	if got, want := clitest.Squeezed(out.String()), []string{"records text tokens of all", "read 1 0.5 kB 120 100.0%"}; !slices.Equal(got, want) {
		t.Errorf("of little, with tokens: %q, want %q", got, want)
	}
}

// TestReasonsInWords: four of them and how many more there are.
func TestReasonsInWords(t *testing.T) {
	s := curate.StepCount{Rejected: map[string]curate.Count{}}
	if got := reasons(s); got != "" {
		t.Errorf("of nothing %q", got)
	}
	for i, name := range []string{"a", "b", "c", "d"} {
		s.Rejected[name] = curate.Count{Documents: int64(i / 2)}
	}
	if got, want := reasons(s), "1 c, 1 d, 0 a, 0 b"; got != want {
		t.Errorf("four are %q, want %q", got, want)
	}
	s.Rejected["e"], s.Rejected["f"], s.Changed = curate.Count{Documents: 9}, curate.Count{}, 2
	if got, want := reasons(s), "2 changed, 9 e, 1 c, 1 d, 0 a, 2 more reasons"; got != want {
		t.Errorf("six are %q, want %q", got, want)
	}
}

// TestMixInWords: what a mix has of each source, what was wanted, and how often a source was read.
func TestMixInWords(t *testing.T) {
	m := &curate.Mixed{Unit: "bytes", Parts: 2, Total: curate.Count{Documents: 30, Bytes: 3_000_000}, Sources: []curate.MixedSource{
		{Name: "wiki", Count: curate.Count{Documents: 20, Bytes: 2_000_000}, Share: 0.667, Wanted: 0.7, Repeated: curate.Count{Documents: 12, Bytes: 1_200_000}},
		{Name: "code", Count: curate.Count{Documents: 10, Bytes: 1_000_000}, Share: 0.333, Wanted: 0.3}}}
	var out bytes.Buffer
	showMix(&out, m, "mixed")
	want := []string{"documents text of bytes (wanted)", "wiki 20 2.0 MB 66.7% (70.0%) upsampled 2.5 times: 12 documents are repeats", "code 10 1.0 MB 33.3% (30.0%)", "all 30 3.0 MB", "",
		"2 parts in mixed", "next: hone pretrain data=mixed out=runs/first"}
	if got := clitest.Squeezed(out.String()); !slices.Equal(got, want) {
		t.Errorf("the mix is %q, want %q", got, want)
	}
	out.Reset()
	m.Unit, m.Total.Tokens, m.Sources[0].Count.Tokens, m.Sources[1].Count.Tokens = "tokens", 900, 600, 300
	showMix(&out, m, "mixed")
	want = []string{"documents text tokens of tokens (wanted)", "wiki 20 2.0 MB 600 66.7% (70.0%) upsampled 2.5 times: 12 documents are repeats", "code 10 1.0 MB 300 33.3% (30.0%)", "all 30 3.0 MB 900"}
	if got := clitest.Squeezed(out.String()); !slices.Equal(got[:4], want) {
		t.Errorf("the mix by tokens is %q, want %q", got, want)
	}
	if quotient(3, 0) != 0 || quotient(1, 1) != 1 || quotient(1, 4) != 0.25 {
		t.Errorf("quotients %v, %v and %v", quotient(3, 0), quotient(1, 1), quotient(1, 4))
	}
}

// TestPartsInWords: the eight largest of a kind.
func TestPartsInWords(t *testing.T) {
	var out bytes.Buffer
	if parts(&out, "files", nil); out.Len() != 0 {
		t.Errorf("of nothing %q", out.String())
	}
	var list []curate.Part
	for _, name := range strings.Split("a b c d e f g h i j", " ") {
		list = append(list, curate.Part{Name: name, Share: 0.1})
	}
	if parts(&out, "files", list); out.String() != "\nfiles: a 10.0%, b 10.0%, c 10.0%, d 10.0%, e 10.0%, f 10.0%, g 10.0%, h 10.0% and 2 more\n" {
		t.Errorf("of ten %q", out.String())
	}
}

// TestPlanInWords: the parts that there are, what is assumed, and advice where there is something to say.
func TestPlanInWords(t *testing.T) {
	r := &cluster.Estimated{Model: "7B", Method: "full", Parameters: 7e9, Trainable: 7e9, Tokens: 1e9, SequenceLength: 4096, FLOPsPerToken: 42e9, GPUs: 8, ZeRO: 3, TensorParallel: 1, Recompute: "none",
		Offload: "none", GPU: plan.GPU{Name: "h100", TFLOPS: 989.4}, Fits: true, USDPerGPUHour: 2,
		Memory: plan.PerGPU{Weights: 1 << 30, Peak: 5 << 30, Capacity: 80 << 30, KVCache: 1 << 20},
		Cost:   plan.Cost{FLOPs: 4.2e19, TFLOPS: 400, GPUHours: 1234, Hours: 48, KWh: 50, USD: 2468}}
	text := func() string {
		var out bytes.Buffer
		printPlan(&out, r)
		return out.String()
	}
	got := text()
	for _, want := range []string{"7B, 7B parameters, 7B trained (full)", "1B in sequences of 4096", "8 x h100, ZeRO 3", "5.00 GiB of 80.00 GiB", "  weights        1.00 GiB", "1.0 MiB, when a micro-batch",
		"1,234 GPU hours, 48 hours (2 days)", "$2,468", "400 TFLOP/s of 989.4 on each GPU, $2 for an hour of one as given", "PUE 1.1"} {
		if !strings.Contains(got, want) {
			t.Errorf("the plan lacks %q:\n%s", want, got)
		}
	}
	for _, not := range []string{"reference", "critic", "gathered", "memory of the host", "of writing answers", "does not fit", "cheapest offer", "compute-optimal"} {
		if strings.Contains(got, not) {
			t.Errorf("the plan has %q:\n%s", not, got)
		}
	}
	r.RolloutHours, r.ScoringHours, r.TrainingHours, r.Memory.Host, r.Memory.Critic = 10, 8, 30, 2<<30, 3<<30
	r.Fits, r.Lower, r.Price = false, []string{"zero=3", "gpus=16"}, &plan.Price{Provider: "aws", Machine: "p5", Source: "list", Date: "2026-01-01"}
	r.Cheaper = &cluster.Offer{Price: plan.Price{Provider: "lambda", Machine: "8x", Date: "2026-01-02"}, Cost: 1000}
	a := plan.Chinchilla(7e9, 1e9)
	r.Advice = &a
	got = text()
	for _, want := range []string{"  critic            3.00 GiB", "1.0 MiB while answers are written", "2.00 GiB for each GPU", "10 hours of writing answers, 8 of scoring them, 30 of training", "(aws, p5; list, 2026-01-01)",
		"cheapest offer: $1,000 on lambda 8x (2026-01-02)", "it does not fit; change one of: zero=3, gpus=16", "0.143 tokens for each parameter; 20 are compute-optimal: 140B tokens for this model"} {
		if !strings.Contains(got, want) {
			t.Errorf("the plan lacks %q:\n%s", want, got)
		}
	}
	if r.Cheaper.Cost = 3000; strings.Contains(text(), "cheapest offer") {
		t.Error("an offer that costs more is told of")
	}
}
