package cluster

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hone/plan"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/lm"
	"hone/recipe/preference"
	"hone/recipe/rl"
)

// planned is an estimate with the job of it.
func planned(t *testing.T, keys ...string) (*Estimate, *Estimated, plan.Job, []string) {
	t.Helper()
	c := DefaultEstimate()
	if err := config.Load(&c, "", keys); err != nil {
		t.Fatalf("%v: %v", keys, err)
	}
	e, err := c.Run()
	if err != nil {
		t.Fatalf("%v: %v", keys, err)
	}
	job, list, err := c.Job(e, "slurm")
	if err != nil {
		t.Fatalf("%v: %v", keys, err)
	}
	return &c, e, job, list
}

// stageRecipe is the recipe of a stage and what all have in it.
func stageRecipe(stage string) (c interface {
	Recipe
	Validate() error
}, shared *recipe.Training) {
	switch stage {
	case "pretrain":
		c := lm.DefaultPretrain()
		return &c, &c.Training
	case "sft":
		c := lm.DefaultSFT()
		return &c, &c.Training
	case "reward":
		c := preference.DefaultReward()
		return &c, &c.Training
	case "dpo":
		c := preference.DefaultDPO()
		return &c, &c.Training
	case "ppo":
		c := rl.DefaultPPO()
		return &c, &c.Training
	}
	g := rl.DefaultGRPO()
	return &g, &g.Training
}

// TestJobIsARecipe: the keys of a job of every stage are those of its recipe, which takes them, and its steps see the planned tokens, no more
// than a step's too many.
func TestJobIsARecipe(t *testing.T) {
	for _, keys := range []string{
		"stage=pretrain model=gpt2-124m gpus=2", "stage=pretrain model=mistral-7b gpus=8", "stage=pretrain model=1B gpus=8 sequence_length=8192",
		"stage=sft method=lora", "stage=sft method=prompt num_virtual_tokens=7",
		"stage=reward optimizer=adamw8bit", "stage=dpo method=qlora r=32", "stage=dpo offload=optimizer gpus=4", "stage=ppo rollout.critic=separate rollout.epochs=2 gpus=8 rollout.max_completion_length=32",
		"stage=grpo rollout.reward=rule launch.reward=go_parser gpus=8 rollout.max_completion_length=32",
	} {
		all := append([]string{"model=gpt2-355m", "tokens=20M", "gpu=h100"}, strings.Fields(keys)...)
		if strings.Contains(keys, "model=") {
			all = all[1:]
		}
		c, e, job, list := planned(t, all...)
		r, shared := stageRecipe(c.Stage)
		if err := config.Override(r, list); err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		shared.Device = "cpu"
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", keys, err)
		}
		if shared.Out != job.Out || shared.Method != c.Method || shared.DType != "bf16" || shared.BatchSize != e.BatchSize || shared.SequenceLength != e.SequenceLength ||
			shared.Optimizer.Name != c.Optimizer || shared.Optimizer.Paged != (c.Offload != "none") || shared.LoRA.R != c.R || shared.Prompt.NumVirtualTokens != c.VirtualTokens {
			t.Errorf("%s: the recipe is %+v", keys, shared)
		}
		flat := config.Flatten(r)
		if n, err := strconv.Atoi(cmp.Or(flat["model.max_position_embeddings"], flat["model.n_positions"])); err == nil && n < e.SequenceLength {
			t.Errorf("%s: a new model has %d positions for sequences of %d", keys, n, e.SequenceLength)
		}
		perStep := float64(e.TokensPerStep * shared.GradientAccumulationSteps)
		steps, _ := strconv.ParseFloat(flat["steps"], 64)
		if c.writes() {
			number := func(key string) float64 { v, _ := strconv.ParseFloat(flat[key], 64); return v }
			perStep, steps = number("prompts_per_iteration")*number("num_generations")*float64(e.SequenceLength), number("iterations")
			if want := "max_completion_length"; flat[want] != fmt.Sprint(c.Rollout.MaxCompletionLength) || flat["prompts"] != "data" || perStep != float64(64*e.GPUs/e.TensorParallel*e.SequenceLength) {
				t.Errorf("%s: %s is %s, prompts %s", keys, want, flat[want], flat["prompts"])
			}
		}
		if seen := steps * perStep; seen < e.Tokens || seen >= e.Tokens+perStep {
			t.Errorf("%s: %v steps of %v tokens see %v of %v", keys, steps, perStep, seen, e.Tokens)
		}
	}
}

// TestJobSizes: machines are whole, a session is as long as allowed, what is off the card is in the host's memory, and the disk holds what is written.
func TestJobSizes(t *testing.T) {
	base := []string{"model=llama-3-8b", "stage=sft", "tokens=100M", "gpu=h100"}
	job := func(more ...string) (plan.Job, *Estimated) {
		_, e, j, _ := planned(t, append(slices.Clone(base), more...)...)
		return j, e
	}
	for gpus, want := range map[int][2]int{1: {1, 1}, 4: {1, 4}, 8: {1, 8}, 16: {2, 8}, 12: {2, 6}, 72: {9, 8}} { // of the reference's machines of 8
		if j, _ := job(fmt.Sprint("gpus=", gpus), "method=lora"); j.Machines != want[0] || j.GPUs != want[1] || j.Result != recipe.AdapterName || j.Provider != "" {
			t.Errorf("%d GPUs are %d machines of %d, result %s, provider %q", gpus, j.Machines, j.GPUs, j.Result, j.Provider)
		}
	}
	full, e := job("gpus=8", "provider=aws", "spot=true")
	if full.Provider != "aws" || !full.Spot || full.Result != recipe.ModelName || full.Name != "hone-sft-llama-3-8b" || full.Out != "runs/hone-sft-llama-3-8b" {
		t.Errorf("%+v", full)
	}
	if want := int(math.Ceil(60 * max(0.5, 1.25*e.Hours+0.25))); full.LimitMinutes != want {
		t.Errorf("a session of %d minutes for %.2f hours, want %d", full.LimitMinutes, e.Hours, want)
	}
	if short, _ := job("gpus=8", "launch.max_hours=0.5"); short.LimitMinutes != 30 {
		t.Errorf("a session of %d minutes, half an hour is allowed", short.LimitMinutes)
	}
	paged, pe := job("gpus=8", "offload=optimizer")
	if want := 8*12 + int(math.Ceil(float64(pe.Memory.Host)*8/(1<<30))); paged.HostGiB != want || paged.HostGiB <= full.HostGiB || pe.Memory.Host == 0 {
		t.Errorf("%d GiB on the host, %d with the optimizer there, want %d", full.HostGiB, paged.HostGiB, want)
	}
	if own, _ := job("gpus=8", "launch.name=My Run_1"); own.Name != "my-run-1" {
		t.Errorf("the name %s", own.Name)
	}
}

// TestMachinesOfOnesOwn: Slurm and Kubernetes have the machines that they have, whatever is offered the cheapest elsewhere, unless a provider is named;
// gpus_per_machine says how many GPUs they have.
func TestMachinesOfOnesOwn(t *testing.T) {
	job := func(launcher string, more ...string) (plan.Job, *Estimated, error) {
		c := DefaultEstimate()
		if err := config.Load(&c, "", append([]string{"model=llama-3-8b", "stage=sft", "tokens=100M", "method=lora", "gpus=4"}, more...)); err != nil {
			t.Fatal(err)
		}
		e, err := c.Run()
		if err != nil {
			t.Fatal(err)
		}
		j, _, err := c.Job(e, launcher)
		return j, e, err
	}
	ones := filepath.Join(t.TempDir(), "prices.csv") // the cheapest has one GPU
	if err := os.WriteFile(ones, []byte("provider,machine,gpu,gpus,usd_per_hour,spot_usd_per_hour,date,source\naws,one,h100,1,1,1,2026-01-01,s\naws,eight,h100,8,80,80,2026-01-01,s\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	prices := "prices=" + ones
	for _, c := range []struct {
		launcher, keys string
		machines, gpus int
		provider       string
	}{
		{"slurm", "gpu=h100 spot=true", 1, 4, ""}, {"k8s", "gpu=h100 max_usd=1e9", 1, 1, ""}, {"k8s", "gpu=h100 provider=aws", 4, 1, "aws"}, {"slurm", "provider=aws", 1, 1, "aws"},
		{"skypilot", "gpu=h100 spot=true", 4, 1, "aws"}, {"skypilot", "", 1, 1, "aws"}, {"slurm", "gpu=h100 launch.gpus_per_machine=2", 2, 2, ""},
		{"skypilot", "gpu=h100 launch.gpus_per_machine=4", 1, 4, "aws"}, {"slurm", "gpu=h100 launch.gpus_per_machine=3", 2, 2, ""},
	} {
		j, e, err := job(c.launcher, append(strings.Fields(c.keys), prices)...)
		if err != nil || j.Machines != c.machines || j.GPUs != c.gpus || j.Provider != c.provider || j.GPUs*j.Machines != e.GPUs {
			t.Errorf("%s %s: %d machines of %d of %q, %v; want %d of %d of %q", c.launcher, c.keys, j.Machines, j.GPUs, j.Provider, err, c.machines, c.gpus, c.provider)
		}
	}
	for _, launcher := range []string{"slurm", "k8s"} {
		if _, _, err := job(launcher, prices); err == nil || err.Error() != "gpu is not set, and of a cluster of one's own the cheapest on offer says nothing; name its GPUs, as in gpu=h100, or whose they are by provider" {
			t.Errorf("%s without a GPU: %v", launcher, err)
		}
	}
}

// TestJobDisk: the disk holds the checkpoints that the recipe keeps, the one that is being written, and the weights before and after.
func TestJobDisk(t *testing.T) {
	type made struct {
		c    *Estimate
		e    *Estimated
		keys []string
	}
	plans := map[string]made{}
	disk := func(keys string, own ...string) (gib float64, e *Estimated) {
		if plans[keys].c == nil {
			c, e, _, list := planned(t, append([]string{"model=llama-3-8b", "tokens=100M", "gpu=h100"}, strings.Fields(keys)...)...)
			plans[keys] = made{c, e, list}
		}
		c, e, list := plans[keys].c, plans[keys].e, plans[keys].keys
		r, shared := stageRecipe(c.Stage)
		for _, keys := range [][]string{list, own} {
			if err := config.Override(r, keys); err != nil {
				t.Fatal(err)
			}
		}
		shared.Device = "cpu"
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		return float64(c.Disk(e, r, shared)), e
	}
	// near says that a disk has room for such a number of bytes beside the 100 GiB, and for little more.
	near := func(what string, gib, bytes float64) {
		t.Helper()
		if want := 100 + bytes/(1<<30); gib < want-0.01 || gib > want+1.01 {
			t.Errorf("%s: a disk of %v GiB, want %.1f", what, gib, want)
		}
	}
	full, e := disk("gpus=8 stage=sft")
	n := float64(e.Parameters)
	// the oldest of two checkpoints goes only when a third is whole, and the weights that the run began with stay
	if full < math.Floor((3*14+2)*n/(1<<30)) {
		t.Errorf("a disk of %v GiB holds no three checkpoints of %.0f parameters beside their first weights", full, n)
	}
	near("two and the best are kept", full, 8*n+4*12*n)
	for keys, copies := range map[string]float64{"checkpoint.keep_best=false": 3, "checkpoint.keep_last=5 checkpoint.every=10": 7, "checkpoint.keep_last=1": 3,
		"checkpoint.keep_best=false early_stopping.metric=loss": 4, "checkpoint.keep_best=false checkpoint.keep_last=7 checkpoint.every=10": 8,
		"checkpoint.keep_last=9 steps=3 checkpoint.every=1 checkpoint.seconds=0": 3, "checkpoint.keep_last=0 steps=40 checkpoint.every=2 checkpoint.seconds=0": 21,
		"checkpoint.keep_last=0 checkpoint.every=0 checkpoint.seconds=0 checkpoint.keep_best=false":                                                  1,
		"checkpoint.keep_last=9 steps=100 checkpoint.every=0 checkpoint.seconds=0 checkpoint.keep_best=false":                                        1,
		"checkpoint.keep_last=9 steps=100 checkpoint.every=0 checkpoint.seconds=0 eval.every=20":                                                     5,
		"checkpoint.keep_last=0 steps=40 checkpoint.every=0 checkpoint.seconds=0 eval.every=4 checkpoint.keep_best=false early_stopping.metric=loss": 10,
		"steps=300 checkpoint.seconds=0 eval.every=50":                                                                                               4} {
		gib, _ := disk("gpus=8 stage=sft", strings.Fields(keys)...)
		near(keys, gib, 8*n+copies*12*n)
	}
	// by time there are as many as the planned hours have
	timed, te := disk("gpus=8 stage=sft", "checkpoint.keep_last=0", "checkpoint.every=0", "checkpoint.seconds=60", "checkpoint.keep_best=false")
	near("all, by time", timed, 8*n+(1+math.Floor(te.Hours*60))*12*n)
	eight, _ := disk("gpus=8 stage=sft optimizer=adamw8bit")
	near("moments in 8 bits", eight, 8*n+4*(4+2+8./256)*n)
	lora, le := disk("gpus=8 stage=sft method=lora")
	trained := float64(le.Trainable)
	if trained >= n/10 {
		t.Fatalf("%v of %v parameters are an adapter", trained, n)
	}
	near("an adapter", lora, 4*n+4*trained+4*12*trained)
	critic, _ := disk("stage=ppo rollout.critic=separate rollout.max_completion_length=32 gpus=16", "checkpoint.every=1")
	near("a critic, and the reward model", critic, 12*n+3*24*n)
	all, ae := disk("stage=grpo rollout.epochs=3 rollout.max_completion_length=32 gpus=16", "checkpoint.every=1", "checkpoint.keep_last=0", "checkpoint.seconds=0")
	near("all of grpo", all, 12*n+3*math.Ceil(1e8/float64(1024*64*16/ae.TensorParallel))*12*n)
	// Models that are read beside the policy, each once: of their own size, and a critic's as the policy. A reference is the policy's own folder.
	ppo := "stage=ppo rollout.max_completion_length=32 gpus=16 method=lora rollout.reward=gpt2-1.5b"
	of, pe := disk(ppo, "checkpoint.every=1")
	judge := float64(pe.reward)
	if judge < 1.4e9 || judge > 1.7e9 {
		t.Fatalf("a reward model of %.0f parameters", judge)
	}
	adapted := 4*n + 4*trained + 3*12*trained
	near("a smaller reward model", of, adapted+4*judge)
	for keys, beside := range map[string]float64{"reward=models/a,models/b": 8 * judge, "reward=models/a,models/a,go_parser": 4 * judge, "reward=go_parser": 0, "reward=models/llama-3-8b": 0,
		"reward=models/a critic.kind=separate critic.model=models/a": 4 * judge, "reward=models/a critic.kind=separate critic.model=models/c": 4*judge + 4*n,
		"reward=go_parser ema_decay=0.9": 4*trained + 3*4*trained} {
		gib, _ := disk(ppo, append([]string{"checkpoint.every=1"}, strings.Fields(keys)...)...)
		near(keys, gib, adapted+beside)
	}
	if own, _ := disk("gpus=8 stage=sft launch.disk_gib=77"); own != 77 {
		t.Errorf("%v GiB of disk, 77 are asked for", own)
	}
}

// TestAssumptionsAreLines: they are comments of job files, whatever a folder is called.
func TestAssumptionsAreLines(t *testing.T) {
	c := DefaultEstimate()
	c.Model, c.Stage, c.Tokens, c.GPU, c.GPUs = "gpt2-124m", "sft", "1M", "h100", "1"
	e, err := c.Run()
	if err != nil {
		t.Fatal(err)
	}
	c.Model = "a\nrm -rf\rb" // as a folder may be called
	job, _, err := c.Job(e, "k8s")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(job.Assumptions, "|"); strings.ContainsAny(text, "\n\r") || !strings.Contains(text, "a rm -rf b") {
		t.Errorf("%q are not lines, or not of that model", job.Assumptions)
	}
}

func TestLaunchRefuses(t *testing.T) {
	for keys, want := range map[string]string{
		"launch.max_hours=0.4":       "launch.max_hours is 0.4; it must be from 0.5 to 8760",
		"launch.max_hours=9000":      "launch.max_hours is 9000",
		"launch.disk_gib=-1":         "launch.disk_gib is -1 and launch.gpus_per_machine 0; they",
		"launch.gpus_per_machine=-2": "launch.disk_gib is 0 and launch.gpus_per_machine -2; they",
		"launch.out=":                "launch.out is empty",
		"launch.partition=a\tb":      "one of them has a space",
		"launch.account=a b":         "one of them has a space",
		"launch.name=***":            `launch.name is "***"; it needs a letter or a digit`,
		"model=phi-2":                "phi-2 is a phi; go on from a folder with launch.model=DIR",
	} {
		c := DefaultEstimate()
		c.Model, c.GPU, c.GPUs = "gpt2-124m", "h100", "8"
		if err := config.Load(&c, "", []string{keys}); err != nil {
			t.Fatal(keys, err)
		}
		e, err := c.Run()
		if err != nil {
			t.Fatal(keys, err)
		}
		if _, _, err := c.Job(e, "slurm"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", keys, err, want)
		}
	}
	l, e := defaultLaunch(), &Estimated{GPUs: 3, GPU: plan.GPU{Name: "small"}, Lower: []string{"zero=3", "gpus=4"}}
	if err := l.validate(e); err == nil || err.Error() != "the run does not fit on 3 small, so no job is written; change one of: zero=3, gpus=4" {
		t.Errorf("a run that does not fit: %v", err)
	}
}

// TestDNSLabel: any text makes a label of DNS or nothing, and a label stays what it is.
func TestDNSLabel(t *testing.T) {
	label := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	r := rand.New(rand.NewPCG(1, 2))
	signs := []rune("abzAZ09-_. /ä人\n")
	for range 2000 {
		text := make([]rune, r.IntN(60))
		for i := range text {
			text[i] = signs[r.IntN(len(signs))]
		}
		got := dnsLabel(string(text))
		if got != "" && !label.MatchString(got) || dnsLabel(got) != got || (got == "") != !strings.ContainsAny(string(text[:min(40, len(text))]), "abzAZ09") {
			t.Fatalf("%q becomes %q", string(text), got)
		}
	}
}

func TestWeightsFolder(t *testing.T) {
	for name, want := range map[string]string{"Llama-3-8B": "models/llama-3-8b", "7B": "models/7b", "1.3B": "models/1-3b", "runs/sft/model": "runs/sft/model", "/data/m": "/data/m"} {
		if got := weightsFolder(name); got != want {
			t.Errorf("the weights of %s are in %s, want %s", name, got, want)
		}
	}
}

func TestMoneyAndCounts(t *testing.T) {
	for usd, want := range map[float64]string{0: "0.00", 0.005: "0.01", 99.994: "99.99", 100: "100", 999.6: "1,000", 12345: "12,345", 1234567.4: "1,234,567"} {
		if got := Money(usd); got != want {
			t.Errorf("%v dollars are %s, want %s", usd, got, want)
		}
	}
	for text, want := range map[string]float64{"7B": 7e9, " 1.5t ": 1.5e12, "300e9": 3e11, "2K": 2000, "10m": 1e7, "0": 0, "-3": -3} {
		if got, err := parseCount(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "B", "seven", "1e400", "1e12T", "nan", "inf", "7BB"} {
		if got, err := parseCount(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
