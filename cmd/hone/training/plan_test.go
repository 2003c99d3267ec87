package training

import (
	"bytes"
	"strings"
	"testing"

	"hone/cmd/hone/clitest"
	"hone/plan"
	"hone/recipe/cluster"
)

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

// TestJobsAreFilled: the user's keys come last, runs on processors share nothing, and what is no folder or no stage is refused.
func TestJobsAreFilled(t *testing.T) {
	keys := []string{"out=runs/job", "data=data", "device=cuda", "dtype=bf16", "steps=7"}
	job := &plan.Job{Stage: "pretrain", Machines: 3}
	if _, _, err := fillJob(job, keys, []string{"steps=9"}); err != nil || job.Out != "runs/job" || job.Machines != 3 || !strings.Contains(string(job.Recipe), "steps: 9") || !strings.Contains(string(job.Recipe), "device: cuda") {
		t.Errorf("%+v\n%s, %v", job, job.Recipe, err)
	}
	if _, _, err := fillJob(job, keys, []string{"device=cpu", "dtype=f32"}); err != nil || job.Machines != 1 || strings.Contains(string(job.Recipe), "device") {
		t.Errorf("on processors %+v\n%s, %v", job, job.Recipe, err)
	}
	for want, own := range map[string]string{"launch.set: ": "step=9", "the recipe of the job: steps is 0": "steps=0", "without control characters": "out=a\tb"} {
		if _, _, err := fillJob(job, keys, []string{own}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", own, err)
		}
	}
	if _, _, err := fillJob(&plan.Job{Stage: "eval"}, nil, nil); err == nil || err.Error() != "stage is eval, for which no job is written" {
		t.Errorf("a command that is no stage: %v", err)
	}
	c := &cluster.Estimate{Launch: cluster.Launch{Out: "jobs"}}
	told := func(launcher string, gpus int) string {
		var out bytes.Buffer
		printLaunched(&out, launcher, c, gpus, []string{"jobs/" + launcher, "jobs/recipe.yaml"})
		return out.String()
	}
	clitest.Lines(t, told("slurm", 1), "", "wrote jobs/slurm and jobs/recipe.yaml", "start it in jobs: sbatch slurm")
	clitest.Lines(t, told("skypilot", 1), "", "wrote jobs/skypilot and jobs/recipe.yaml", "start it in jobs: sky jobs launch skypilot --env HONE_URL=URL")
	clitest.Lines(t, told("k8s", 2), "", "wrote jobs/k8s and jobs/recipe.yaml", "start it in jobs: kubectl apply -f k8s", "first set HONE_URL in it, where the machines fetch hone; launch.binary=URL does that",
		"a run of hone computes on one GPU, so on 2 this is a plan on paper; launch.set=device=cpu runs on the processors of one machine")
	c.Launch.Binary = "https://x/hone"
	clitest.Lines(t, told("k8s", 1), "", "wrote jobs/k8s and jobs/recipe.yaml", "start it in jobs: kubectl apply -f k8s")
	clitest.Lines(t, told("skypilot", 1), "", "wrote jobs/skypilot and jobs/recipe.yaml", "start it in jobs: sky jobs launch skypilot")
}
