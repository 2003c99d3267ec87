package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"hone/model"
	"hone/plan"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/lm"
)

// Launch holds what job files need beside the plan. Paths are those on the machines, relative to the folder that they share.
type Launch struct {
	Out        string   `yaml:"out" doc:"folder that the job files are written to"`
	Name       string   `yaml:"name" doc:"of the job; not set: from stage and model"`
	Data       string   `yaml:"data" doc:"data of the run on the machines"`
	Model      string   `yaml:"model" doc:"folder of the weights on the machines; not set: model, where it is a folder, else models/NAME"`
	Reward     string   `yaml:"reward" doc:"ppo, grpo: what scores, a folder on the machines or a rule; not set: models/reward, or the folder of rollout.reward"`
	Set        []string `yaml:"set" doc:"further keys of the run's recipe, as in optimizer.learning_rate=3e-4,eval.every=500"`
	Binary     string   `yaml:"binary" doc:"URL from which the machines fetch hone; not set: named when the job is started"`
	Image      string   `yaml:"image" doc:"k8s: container image that hone runs in"`
	DiskGiB    int      `yaml:"disk_gib" doc:"k8s and skypilot: room for data, models and checkpoints; 0: the checkpoints that are kept and one more, the weights of all models and 100"`
	MaxHours   float64  `yaml:"max_hours" doc:"slurm: the longest that a session may be; the run goes on in the next"`
	PerMachine int      `yaml:"gpus_per_machine" doc:"GPUs of a machine; 0: those of the provider's machine, on slurm and k8s without provider up to 8"`
	Partition  string   `yaml:"partition" doc:"slurm: partition"`
	Account    string   `yaml:"account" doc:"slurm: account"`
}

func defaultLaunch() Launch {
	return Launch{Out: "launch", Data: "data", Image: "nvidia/cuda:12.8.1-base-ubuntu24.04", MaxHours: 24}
}

// tokensPerUpdate is the batch that launched pre-training aims at, as GPT-3 125M to 1.3B had (Brown et al., 2020, table 2.1).
const tokensPerUpdate = 512 << 10

// Job is the planned run of e as a launcher, one of plan.Launchers, is told of it, but for its recipe, which is that of the stage with keys, and for the
// disk, which depends on the recipe; see Disk.
func (c *Estimate) Job(e *Estimated, launcher string) (j plan.Job, keys []string, err error) {
	l := c.Launch
	if err := l.validate(e); err != nil {
		return j, nil, err
	}
	own := launcher != "skypilot" && c.Provider == "" // which has the machines that it has, whatever is offered elsewhere
	if own && c.GPU == "" {
		return j, nil, fmt.Errorf("gpu is not set, and of a cluster of one's own the cheapest on offer says nothing; name its GPUs, as in gpu=%s, or whose they are by provider", e.GPU.Name)
	}
	j = plan.Job{Name: dnsLabel(cmp.Or(l.Name, "hone-"+c.Stage+"-"+c.Model)), Stage: c.Stage, Result: recipe.ModelName, GPU: e.GPU, Spot: c.Spot, Binary: l.Binary,
		Image: l.Image, Partition: l.Partition, Account: l.Account}
	if j.Name == "" {
		return j, nil, fmt.Errorf("launch.name is %q; it needs a letter or a digit", l.Name)
	}
	if c.Method != "full" {
		j.Result = recipe.AdapterName
	}
	most := 8
	if e.Price != nil && e.Price.Provider != plan.Reference && !own {
		most, j.Provider = e.Price.GPUs, e.Price.Provider
	}
	most = cmp.Or(l.PerMachine, most)
	// All machines have as many GPUs: schedulers ask for a number of equal ones.
	for j.GPUs = min(most, e.GPUs); e.GPUs%j.GPUs != 0; {
		j.GPUs--
	}
	j.Machines = e.GPUs / j.GPUs
	// A quarter more than planned and a quarter of an hour to start. What is cut off goes on in the next session, from its checkpoint.
	j.LimitMinutes = int(math.Ceil(60 * max(0.5, min(l.MaxHours, 1.25*e.Hours+0.25))))
	j.HostGiB = j.GPUs*12 + int(math.Ceil(float64(e.Memory.Host)*float64(j.GPUs)/(1<<30)))
	j.Out = "runs/" + j.Name
	j.Assumptions = []string{
		fmt.Sprintf("Planned: %s of %s, %s, %s tokens on %d x %s.", c.Stage, c.Model, c.Method, plan.Count(e.Tokens), e.GPUs, e.GPU.Name),
		fmt.Sprintf("%s of %s a GPU, %s hours, $%s at $%.4g for an hour of a GPU.", plan.Bytes(e.Memory.Peak), plan.Bytes(e.Memory.Capacity), Hours(e.Hours), Money(e.USD), e.USDPerGPUHour),
	}
	for i, line := range j.Assumptions {
		j.Assumptions[i] = strings.Join(strings.Fields(line), " ") // a line of comment, whatever the model is called
	}
	keys, err = c.launchKeys(e, j.Out)
	return j, keys, err
}

// Recipe is the recipe of a job.
type Recipe interface {
	Models() []*string // folders of the models that it reads, the first that which it begins with
}

// Disk is the GiB that a job needs for a run of a recipe, of which t is what all have: launch.disk_gib, or the weights that the run begins with, which a
// reference has as well, those of the models beside it and those that it ends with, which may all be in 32 bits, the most checkpoints that stand there
// at a time, and 100 for data and all else.
func (c *Estimate) Disk(e *Estimated, r Recipe, t *recipe.Training) int {
	// Of each trained parameter a checkpoint has the master weight and the two moments, in 32 bits or in 8 with a scale for each block of 256.
	checkpoint := 12 * float64(e.Trainable)
	if t.Optimizer.Name == "adamw8bit" {
		checkpoint = (4 + 2*(1+4.0/256)) * float64(e.Trainable)
	}
	if c.critic() {
		checkpoint *= 2
	}
	weights := 4 * (float64(e.Parameters+e.Trainable) + c.beside(e, r))
	keys := config.Flatten(r)
	if decay := keys["ema_decay"]; decay != "" && decay != "0" { // the average stands in checkpoints and beside the result
		checkpoint, weights = checkpoint+4*float64(e.Trainable), weights+4*float64(e.Trainable)
	}
	return cmp.Or(c.Launch.DiskGiB, 100+int(math.Ceil(min((weights+c.kept(e, t)*checkpoint)/(1<<30), math.MaxInt32))))
}

// beside are the parameters of the models that score answers and of a critic's that begins with another folder than they have.
func (c *Estimate) beside(e *Estimated, r Recipe) (n float64) {
	if !c.writes() {
		return 0
	}
	critic, seen, list := config.Flatten(r)["critic.model"], map[string]bool{}, r.Models()
	for i, dir := range list {
		switch {
		case i == 0 || seen[*dir]: // the policy's, or one that is counted
		case i == len(list)-1 && *dir == critic:
			n += float64(e.Parameters)
		default:
			n += float64(cmp.Or(e.reward, e.Parameters))
		}
		seen[*dir] = true
	}
	return n
}

// kept is the most checkpoints that stand on the disk at a time: an old one goes only when a new one is whole.
func (c *Estimate) kept(e *Estimated, t *recipe.Training) float64 {
	steps := t.Steps
	if c.writes() && steps == 0 { // set when a run begins; with one minibatch, which is the default
		steps = c.iterations(e) * c.epochs()
	}
	all := 1.0 // at the end
	if t.Checkpoint.Every > 0 {
		all += float64(steps / t.Checkpoint.Every)
	}
	if t.Checkpoint.Seconds > 0 {
		all += math.Floor(3600 * e.Hours / t.Checkpoint.Seconds)
	}
	best := t.Checkpoint.KeepBest || t.EarlyStopping.Metric != ""
	if best && t.Eval.Every > 0 && steps > 0 { // each may be better than those before; the one at the end is counted
		all += float64((steps - 1) / t.Eval.Every)
	}
	all = min(all, float64(max(steps, 1)))
	if t.Checkpoint.KeepLast == 0 {
		return all
	}
	most := t.Checkpoint.KeepLast + 1
	if best {
		most++
	}
	return min(all, float64(most))
}

// answers are those that all GPUs write side by side, an iteration of ppo and grpo.
func (c *Estimate) answers(e *Estimated) int {
	return c.Rollout.RolloutBatchSize * e.GPUs / e.TensorParallel
}

// iterations are those of ppo and grpo that see the planned tokens.
func (c *Estimate) iterations(e *Estimated) int {
	return int(math.Ceil(e.Tokens / float64(e.SequenceLength*c.answers(e))))
}

func (l *Launch) validate(e *Estimated) error {
	switch {
	case !e.Fits:
		return fmt.Errorf("the run does not fit on %d %s, so no job is written; %s", e.GPUs, e.GPU.Name, e.Remedy())
	case !(l.MaxHours >= 0.5 && l.MaxHours <= 24*365):
		return fmt.Errorf("launch.max_hours is %v; it must be from 0.5 to 8760", l.MaxHours)
	case l.DiskGiB < 0 || l.PerMachine < 0:
		return fmt.Errorf("launch.disk_gib is %d and launch.gpus_per_machine %d; they must be at least 0", l.DiskGiB, l.PerMachine)
	case l.Out == "":
		return fmt.Errorf("launch.out is empty; name a folder for the job files")
	case strings.ContainsFunc(l.Partition+l.Account+l.Binary+l.Image, func(r rune) bool { return r <= ' ' }):
		return fmt.Errorf("launch.partition, account, binary and image are words; one of them has a space")
	}
	return nil
}

// dnsLabel makes a name of at most 40 letters, digits and hyphens of a text; schedulers add to it.
func dnsLabel(text string) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, text)
	return strings.Trim(label[:min(len(label), 40)], "-")
}

// launchKeys are the keys of the run's recipe that the plan decided.
func (c *Estimate) launchKeys(e *Estimated, out string) (keys []string, err error) {
	micros := 1
	if c.Stage == "pretrain" {
		micros = max(1, int(math.Round(float64(tokensPerUpdate)/float64(e.TokensPerStep))))
	}
	add := func(key string, value any) { keys = append(keys, fmt.Sprint(key, "=", value)) }
	add("out", out)
	add("device", "cuda")
	add("dtype", "bf16")
	add("method", c.Method)
	add("recompute", e.Recompute)
	add("batch_size", e.BatchSize)
	add("sequence_length", e.SequenceLength)
	add("gradient_accumulation_steps", micros)
	add("optimizer.name", c.Optimizer)
	add("optimizer.paged", c.Offload != "none")
	add("lora.r", c.R)
	add("prompt.num_virtual_tokens", c.VirtualTokens)
	if c.writes() {
		return append(keys, c.rolloutKeys(e)...), nil
	}
	add("data", c.Launch.Data)
	add("steps", int64(math.Ceil(e.Tokens/float64(e.TokensPerStep*micros))))
	if c.Stage == "pretrain" && c.Launch.Model == "" {
		shape, err := c.newShape()
		return append(keys, shape...), err
	}
	add("model", cmp.Or(c.Launch.Model, weightsFolder(c.Model)))
	return keys, nil
}

// rolloutKeys are those of the recipes of ppo and grpo, whose iterations have the answers that all GPUs write side by side.
func (c *Estimate) rolloutKeys(e *Estimated) (keys []string) {
	add := func(key string, value any) { keys = append(keys, fmt.Sprint(key, "=", value)) }
	answers, generations := c.answers(e), 1
	epochs := "num_ppo_epochs"
	if c.Stage == "grpo" {
		epochs, generations = "num_iterations", min(8, answers)
	} else {
		add("critic.kind", c.Rollout.Critic)
	}
	add(epochs, c.epochs())
	add("prompts", c.Launch.Data)
	add("model", cmp.Or(c.Launch.Model, weightsFolder(c.Model)))
	switch c.Rollout.Reward {
	case "rule", "":
		add("reward", cmp.Or(c.Launch.Reward, "models/reward"))
	default:
		add("reward", cmp.Or(c.Launch.Reward, weightsFolder(c.Rollout.Reward)))
	}
	add("num_generations", generations)
	add("prompts_per_iteration", max(1, answers/generations))
	add("rollout_batch_size", c.Rollout.RolloutBatchSize)
	add("max_completion_length", c.Rollout.MaxCompletionLength)
	add("iterations", c.iterations(e))
	return keys
}

// weightsFolder is where the weights lie when launch.model does not say.
func weightsFolder(name string) string {
	if _, known := shapes[strings.ToLower(name)]; known {
		return "models/" + strings.ToLower(name)
	}
	if _, err := parseCount(name); err == nil {
		return "models/" + dnsLabel(name)
	}
	return name
}

// newShape are the keys of the model that pre-training starts.
func (c *Estimate) newShape() (keys []string, err error) {
	text, err := shapeOf(c.Model, c.positions())
	if err != nil {
		return nil, err
	}
	p := lm.Pretrain{}
	if err := json.Unmarshal(text, &p.Model); err != nil {
		return nil, fmt.Errorf("config.json of %s: %w", c.Model, err)
	}
	kind := p.Model.Architecture()
	if kind == "mistral" {
		kind = "llama" // model.sliding_window makes it one
	}
	if kind != "llama" && kind != "gpt2" {
		return nil, fmt.Errorf("a new model of a run can be llama or gpt2, and %s is a %s; go on from a folder with launch.model=DIR, or plan a size such as 7B", c.Model, kind)
	}
	p.Model.ModelType = &kind
	m, err := model.Declare(text, plan.NewDevice())
	if err != nil {
		return nil, err
	}
	keys = append(keys, fmt.Sprint("tokenizer.vocab_size=", m.Shape().Vocab))
	for key, value := range config.Flatten(&p) {
		if strings.HasPrefix(key, "model.") {
			keys = append(keys, key+"="+value)
		}
	}
	slices.Sort(keys)
	return keys, nil
}
