package training

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/plan"
	"hone/recipe/cluster"
	"hone/recipe/config"
)

// Plan is hone plan. It plans runs on rented GPUs from a config.json alone; a run on this machine is planned by its own command with --dry-run.
func Plan(a *cli.App) *cobra.Command {
	defaults := cluster.DefaultEstimate()
	launcher := ""
	cmd := &cobra.Command{
		Use:   "plan [PLAN.yaml] [path=value ...]",
		Short: "Say what a run on GPUs takes: memory, time, energy and money",
		Long: "Says what a run on GPUs takes before it is started: memory by part, time at a stated utilisation, energy and money, and with\n" +
			"max_usd, max_hours and gpus the cheapest machines that keep to a budget. Known models: " + strings.Join(cluster.Shapes(), ", ") +
			".\n\nKeys, in YAML or as path=value:\n" + cli.Keys(&defaults),
		Example: "  hone plan model=gpt3-175b tokens=300e9 gpu=v100\n" +
			"  hone plan model=llama-3-8b stage=sft method=qlora tokens=50M gpu=rtx4090\n" +
			"  hone plan model=7B max_usd=100000 max_hours=720\n" +
			"  hone plan model=llama-3-8b stage=sft method=lora tokens=50M gpu=h100 --launch slurm launch.data=answers.jsonl",
		RunE: func(_ *cobra.Command, args []string) error {
			c := cluster.DefaultEstimate()
			path, overrides := cli.SplitArgs(args)
			if err := config.Load(&c, path, overrides); err != nil {
				return err
			}
			if launcher == "" {
				noteUnlaunched(a, &c)
			}
			r, err := c.Run()
			if err != nil {
				return err
			}
			var files []string
			if launcher != "" {
				if files, err = writeJob(launcher, &c, r); err != nil {
					return err
				}
			}
			result := struct {
				*cluster.Estimated
				Launch []string `json:"launch,omitempty"` // files that were written
			}{r, files}
			return a.Result(result, func(w io.Writer) {
				printPlan(w, r)
				if launcher != "" {
					printLaunched(w, launcher, &c, r.GPUs, files)
				}
			})
		},
	}
	cmd.Flags().StringVar(&launcher, "launch", "", "write the job files of the plan, for one of "+launchers())
	return cmd
}

// printPlan writes a plan as a table, with what it assumes.
func printPlan(out io.Writer, r *cluster.Estimated) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, values...))
	}
	row("model", "%s, %s parameters, %s trained (%s)", r.Model, plan.Count(float64(r.Parameters)), plan.Count(float64(r.Trainable)), r.Method)
	row("tokens", "%s in sequences of %d", plan.Count(r.Tokens), r.SequenceLength)
	row("operations", "%.3g, %.3g for a token", r.FLOPs, r.FLOPsPerToken)
	row("machine", "%d x %s, ZeRO %d, tensor parallel %d, recompute %s, offload %s", r.GPUs, r.GPU.Name, r.ZeRO, r.TensorParallel, r.Recompute, r.Offload)
	// Parts of 0 are of methods that this run does not have.
	m := r.Memory
	row("memory of a GPU", "%s of %s", plan.Bytes(m.Peak), plan.Bytes(m.Capacity))
	for _, part := range []struct {
		name  string
		bytes int64
	}{{"weights", m.Weights}, {"reference", m.Reference}, {"reward model", m.Reward}, {"critic", m.Critic}, {"gradients", m.Gradients}, {"optimizer", m.Optimizer}, {"activations", m.Activations}, {"logits", m.Logits},
		{"gathered layers", m.Gathered}, {"reserved", m.Reserved}, {"workspace", m.Workspace}} {
		if part.bytes > 0 {
			row("  "+part.name, "%s", plan.Bytes(part.bytes))
		}
	}
	if r.RolloutHours > 0 {
		row("  KV cache", "%s while answers are written, when there are no gradients and activations", plan.Bytes(m.KVCache))
	} else {
		row("  KV cache", "%s, when a micro-batch of such sequences is written; not in the sum", plan.Bytes(m.KVCache))
	}
	if m.Host > 0 {
		row("memory of the host", "%s for each GPU", plan.Bytes(m.Host))
	}
	row("time", "%s GPU hours, %s hours (%s days)", cluster.Money(r.GPUHours), cluster.Hours(r.Hours), cluster.Hours(r.Hours/24))
	if r.RolloutHours > 0 {
		row("  of that", "%s hours of writing answers, %s of scoring them, %s of training", cluster.Hours(r.RolloutHours), cluster.Hours(r.ScoringHours), cluster.Hours(r.TrainingHours))
	}
	row("energy", "%s kWh", cluster.Money(r.KWh))
	row("cost", "$%s", cluster.Money(r.USD))
	w.Flush()
	fmt.Fprintf(out, "\nassumed: %.4g TFLOP/s of %g on each GPU, $%.4g for an hour of one%s,\nenergy at the GPU's power limit and PUE %g; communication is in the utilisation\n",
		r.TFLOPS, r.GPU.TFLOPS, r.USDPerGPUHour, source(r.Price), plan.PUE)
	printAdvice(out, r)
}

// source is where a price is from, with its date: prices change.
func source(p *plan.Price) string {
	if p == nil {
		return " as given"
	}
	return fmt.Sprintf(" (%s, %s; %s, %s)", p.Provider, p.Machine, p.Source, p.Date)
}

func printAdvice(out io.Writer, r *cluster.Estimated) {
	if o := r.Cheaper; o != nil && o.Cost < r.USD {
		fmt.Fprintf(out, "cheapest offer: $%s on %s %s (%s)\n", cluster.Money(o.Cost), o.Provider, o.Machine, o.Date)
	}
	if !r.Fits {
		fmt.Fprintf(out, "it does not fit; %s\n", r.Remedy())
	}
	if a := r.Advice; a != nil {
		fmt.Fprintf(out, "%.3g tokens for each parameter; 20 are compute-optimal: %s tokens for this model, or %s parameters on %s tokens for the same operations\n",
			a.TokensPerParameter, plan.Count(a.OptimalTokens), plan.Count(a.SameCompute), plan.Count(a.SameComputeTokens))
	}
}
