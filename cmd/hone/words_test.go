package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/clitest"
	"hone/plan"
	"hone/recipe/cluster"
	"hone/recipe/config"
)

// TestMistakesInWords: a name that is nearly right is told with the right one, and a flag that is a key of a recipe with the key.
func TestMistakesInWords(t *testing.T) {
	for line, want := range map[string]string{
		"pretran": `unknown command "pretran"; did you mean "pretrain"? hone --help lists them`, "xx": `unknown command "xx"; hone --help lists them`, "gx": `unknown command "gx"; hone --help lists them`,
		"data curat":               `unknown command "curat"; did you mean "curate"? hone data --help lists them`,
		"sft --batch-size=2":       "unknown flag --batch-size; keys have no dashes: write batch_size=VALUE",
		"sft --learning-rate=2":    "unknown flag --learning-rate; keys have no dashes: write optimizer.learning_rate=VALUE",
		"plan --lauch x":           "unknown flag --lauch; did you mean --launch? hone plan --help lists them",
		"plan --nothing-like-it":   "unknown flag --nothing-like-it; hone plan --help lists them",
		"chat m --threads=x":       `--threads is "x", which is no whole number; hone chat --help says what flags take`,
		"chat m --seed=-1":         `--seed is "-1", which is no whole number of 0 or more; hone chat --help says what flags take`,
		"chat m --temperature=hot": `--temperature is "hot", which is no number; hone chat --help says what flags take`,
		"chat":                     "0 arguments were given; use: hone chat MODEL [flags]",
	} {
		var out, err bytes.Buffer
		if code := run(context.Background(), &cli.App{In: strings.NewReader(""), Out: &out, Err: &err}, strings.Fields(line)); code != 1 || out.Len() != 0 || err.String() != "hone: "+want+"\n" {
			t.Errorf("hone %s: exit code %d, %q and %q, want %q", line, code, out.String(), err.String(), want)
		}
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

// TestNotesOfKeys go beside the result.
func TestNotesOfKeys(t *testing.T) {
	var err bytes.Buffer
	c, _ := sftStage().defaults()
	usual, _ := sftStage().defaults()
	a := &cli.App{Out: io.Discard, Err: &err}
	if a.NoteUnused(c, usual); err.Len() != 0 {
		t.Errorf("of a recipe as it is by default: %q", err.String())
	}
	if set := config.Override(c, []string{"lora.r=3"}); set != nil {
		t.Fatal(set)
	}
	if a.NoteUnused(c, usual); err.String() != "note: lora.r has no effect with method=full\n" {
		t.Errorf("of a key that changes nothing: %q", err.String())
	}
}
