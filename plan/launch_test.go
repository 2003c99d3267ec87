package plan_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hone/plan"
)

var update = flag.Bool("update", false, "write the golden files")

// jobs are two runs: a small one with all that can be said of it, and one on several machines of a cloud's spot market.
func jobs(t *testing.T) map[string]plan.Job {
	gpu := func(name string) plan.GPU {
		g, err := plan.FindGPU(name)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	return map[string]plan.Job{
		"small": {Name: "hone-sft", Stage: "sft", Recipe: []byte("data:\n- answers.jsonl\nmodel: models/llama-3-8b\nout: runs/it's mine\n"), Out: "runs/it's mine",
			Result: "adapter", GPU: gpu("a6000"), Machines: 1, GPUs: 2, HostGiB: 24, DiskGiB: 132, Provider: "lambda", LimitMinutes: 3*60 + 5,
			Binary: "https://example.org/hone", Image: "example/cuda", Partition: "gpu", Account: "me", Assumptions: []string{"Planned: sft."}},
		"large": {Name: "hone-pretrain", Stage: "pretrain", Recipe: []byte("data:\n- data\nout: runs/hone-pretrain\n"), Out: "runs/hone-pretrain", Result: "model",
			GPU: gpu("h100"), Machines: 8, GPUs: 8, HostGiB: 96, DiskGiB: 300, Provider: "aws", Spot: true, LimitMinutes: 26 * 60, Image: "example/cuda",
			Assumptions: []string{"Planned: pretrain.", "With a second line."}},
	}
}

// TestJobFiles compares with files that scripts/launch/validate.py has checked the like of.
func TestJobFiles(t *testing.T) {
	for name, job := range jobs(t) {
		for launcher, file := range plan.Launchers() {
			got, err := job.File(launcher)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "launch", name+"-"+file)
			if *update {
				if err := os.WriteFile(golden, got, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; -update writes it:\n%s", golden, got)
			}
			if !bytes.Contains(got, []byte("resume=true")) {
				t.Errorf("%s does not resume", golden)
			}
		}
	}
	if _, err := (plan.Job{}).File("torque"); err == nil {
		t.Error("a launcher that is none is no error")
	}
}

// TestSlurmScript runs the script with stand-ins for Slurm: it asks to be queued again until there is a result, and stops at an error.
func TestSlurmScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skipf("no bash to run the Slurm script with: %v", err)
	}
	job := jobs(t)["small"]
	job.Binary = ""
	script, err := job.File("slurm")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tool := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!"+bash+"\n"+text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	tool("srun", `exec "$@"`)
	tool("scontrol", `echo "scontrol $*" >>log`)
	run := func(hone string) (string, error) {
		tool("hone", hone)
		os.Remove(filepath.Join(dir, "log"))
		cmd := exec.Command(bash)
		cmd.Stdin, cmd.Dir = bytes.NewReader(script), dir
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "SLURM_SUBMIT_DIR=" + dir, "SLURM_JOB_ID=7"}
		out, err := cmd.CombinedOutput()
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return string(out) + string(log), err
	}
	if said, err := run(`echo "hone $*"`); err != nil || !strings.Contains(said, "hone sft recipe.yaml resume=true") || !strings.Contains(said, "scontrol requeue 7") {
		t.Errorf("a run that was saved: %s, %v", said, err)
	}
	if said, err := run("exit 1"); err == nil || strings.Contains(said, "requeue") {
		t.Errorf("a run that failed: %s", said)
	}
	if said, err := run(`mkdir -p "runs/it's mine/adapter"`); err != nil || strings.Contains(said, "requeue") {
		t.Errorf("a run that is done: %s, %v", said, err)
	}
}
