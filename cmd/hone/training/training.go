// Package training has the commands that train, a file for each stage, and hone plan, which says what a run on GPUs takes and writes its job files. A
// command of a stage takes the keys of its recipe, from YAML and as path=value, in place of flags.
package training

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/device"
	"hone/device/cpu"
	"hone/plan"
	"hone/plan/meter"
	"hone/recipe"
	"hone/recipe/config"
	"hone/report"
)

// stage is a command that trains by a recipe.
type stage struct {
	name, short, long string // long: what stands above the keys
	example           string
	defaults          func() (trainer, *recipe.Training)         // a recipe with its defaults, and the keys in it that all recipes share
	metrics           func(s *recipe.Summary) map[string]float64 // what is shown beside the summary; nil: nothing
}

// stages are the commands that train, by name.
func stages() map[string]stage {
	all := map[string]stage{}
	for _, s := range []stage{pretrainStage(), sftStage(), rewardStage(), dpoStage(), ppoStage(), grpoStage()} {
		all[s.name] = s
	}
	return all
}

// command makes the command. A recipe whose run can be planned has --dry-run.
func (t stage) command(a *cli.App) *cobra.Command {
	defaults, _ := t.defaults()
	dry := false
	cmd := &cobra.Command{
		Use: t.name + " [RECIPE.yaml] [path=value ...]", Short: t.short, Example: t.example,
		Long: t.long + "\n\nKeys, in YAML or as path=value:\n" + cli.Keys(defaults),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, shared := t.defaults()
			path, overrides := cli.SplitArgs(args)
			if err := config.Load(c, path, overrides); err != nil {
				return err
			}
			if err := resolveModels(c); err != nil {
				return err
			}
			// A key that is set and changes nothing is a misunderstanding that costs a run: it is told, and no error, as recipes are shared by methods.
			untouched, _ := t.defaults()
			a.NoteUnused(c, untouched)
			if err := c.Validate(); err != nil {
				return t.orItsRecipe(err, path, overrides, shared)
			}
			if dry {
				return dryRun(cmd.Context(), a, c.(planner), shared)
			}
			s, err := Train(cmd.Context(), a, c, shared)
			if err != nil {
				return err
			}
			return a.Result(s, func(w io.Writer) {
				Summarise(w, s)
				if t.metrics != nil {
					fmt.Fprintln(w) // another table, of other columns
					showMetrics(w, t.metrics(s))
				}
			})
		},
	}
	if _, ok := defaults.(planner); ok {
		cmd.Flags().BoolVar(&dry, "dry-run", false, "say what the run will take of memory and time, and start nothing")
	}
	return cmd
}

// orItsRecipe adds to an error of the keys of a run that is to go on where its recipe is, which has all that were not given again. An error that the
// run's own recipe would not mend, since it is of what was given, stays as it is.
func (t stage) orItsRecipe(err error, path string, overrides []string, c *recipe.Training) error {
	kept := filepath.Join(c.Out, config.FileName)
	if _, none := os.Stat(kept); none != nil || !c.Resume || c.Out == "" || path != "" {
		return err
	}
	own, _ := t.defaults()
	if config.Load(own, kept, overrides) == nil && resolveModels(own) == nil {
		if same := own.Validate(); same != nil && same.Error() == err.Error() {
			return err
		}
	}
	return fmt.Errorf("%w; the keys of the run are in its recipe: hone %s %s resume=true", err, t.name, cli.Word(kept))
}

// validation is what was measured on held-out data.
func validation(s *recipe.Summary) map[string]float64 { return s.Validation }

// planner is a recipe whose run can be planned.
type planner interface {
	Plan(ctx context.Context, env recipe.Env) (*recipe.Planned, error)
}

// dryRun prints what a run of a valid recipe would need.
func dryRun(ctx context.Context, a *cli.App, r planner, c *recipe.Training) error {
	progress := cli.NewProgress(a.Err)
	var rates plan.Meter // of a GPU none are known
	if kind, _, _ := device.ParseName(c.Device); kind == "cpu" {
		rates = a.Meters.Meter(meter.NewPeak(c.Threads, c.DType))
	}
	p, err := r.Plan(ctx, recipe.Env{Progress: progress.Stage, Meter: rates, Arranged: cpu.ArrangedLen})
	progress.Clear()
	if err != nil {
		return err
	}
	for _, note := range p.Notes {
		fmt.Fprintln(a.Err, "note:", note)
	}
	return a.Result(p, p.Print)
}

// resolveModels puts folders in the place of names of models in the cache.
func resolveModels(c trainer) (err error) {
	for _, key := range c.Models() {
		if *key, err = machine.ModelDir(*key); err != nil {
			return err
		}
	}
	return nil
}

// trainer is a recipe of training.
type trainer interface {
	Unused(key string) string // why a key has no effect beside the others, "" where it has one
	Models() []*string
	recipe.Runner
}

// Train runs a recipe, whose shared keys are c, and writes its report. What is wrong with the recipe is an error of its Run.
func Train(ctx context.Context, a *cli.App, r recipe.Runner, c *recipe.Training) (*recipe.Summary, error) {
	begun := time.Now()
	outlivePipes()
	dev, done, err := machine.OpenDevice(c.Device, c.Threads)
	if err != nil {
		return nil, err
	}
	defer done()
	p := newRunProgress(a.Notes(), c.Steps)
	// before the run, while the machine is at rest
	peak := meter.PeakOf(dev, c.Threads, c.DType)
	p.peak = peak
	s, err := r.Run(ctx, recipe.Env{Device: dev, Events: p.event, Progress: p.Stage, Begun: begun, Meter: a.Meters.Meter(peak), Memory: machine.Memory(dev), Arranged: cpu.ArrangedLen})
	p.Clear()
	if err != nil {
		return nil, err
	}
	// also of a run that was interrupted: what there is may tell why it should not go on
	if _, err := report.Write(c.Out); err != nil {
		return nil, err
	}
	return s, nil
}

// outlivePipes makes it an error to write to a pipe that nobody reads any more, where it would end the process: a run is worth more than its progress on
// a screen, and the tee that shows it ends before it at Ctrl-C.
func outlivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// against words a plan beside what was taken, where there is one.
func against(planned string, p, measured float64) string {
	if !(p > 0 && measured > 0) {
		return ""
	}
	return fmt.Sprintf(" (planned: %s, %+.0f%%)", planned, 100*(p/measured-1))
}

// Summarise prints the outcome of a run as a table.
func Summarise(out io.Writer, s *recipe.Summary) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if s.Interrupted && s.Steps > 0 {
		fmt.Fprintf(w, "interrupted\tsaved at step %d; go on with the same command and resume=true, or with %s resume=true\n", s.Steps, filepath.Join(s.Out, config.FileName))
	}
	if s.StopReason != "" {
		fmt.Fprintf(w, "stopped\t%s\n", s.StopReason)
	}
	fmt.Fprintf(w, "parameters\t%d\n", s.Parameters)
	if s.Trainable < s.Parameters {
		fmt.Fprintf(w, "trainable\t%d (%.2f%%)\n", s.Trainable, 100*float64(s.Trainable)/float64(s.Parameters))
	}
	if s.StepSeconds > 0 { // there was one
		fmt.Fprintf(w, "first step\t%.1f s after the start\n", s.SetupSeconds)
	}
	fmt.Fprintf(w, "steps\t%d, %d tokens learned in %.0f s (%.0f a second)\n", s.Steps, s.Tokens, s.Seconds, s.TokensPerS)
	if s.Unigram > 0 {
		fmt.Fprintf(w, "unigram baseline\t%.4f\n", s.Unigram)
		fmt.Fprintf(w, "bigram baseline\t%.4f\n", s.Bigram)
	}
	if v, ok := s.Validation["loss"]; ok {
		fmt.Fprintf(w, "held-out loss\t%.4f%s\n", v, keptNote(s))
	}
	fmt.Fprintf(w, "peak memory\t%s%s\n", cli.BytesText(s.PeakMemoryBytes), against(cli.BytesText(s.PlannedMemoryBytes), float64(s.PlannedMemoryBytes), float64(s.PeakMemoryBytes)))
	if s.StepSeconds > 0 {
		fmt.Fprintf(w, "time of a step\t%.3g s%s\n", s.StepSeconds, against(fmt.Sprintf("%.3g s", s.PlannedStepSeconds), s.PlannedStepSeconds, s.StepSeconds))
	}
	fmt.Fprintf(w, "report\t%s/report.html\n", s.Out)
	if s.ModelDir != "" {
		fmt.Fprintf(w, "%s\t%s\n", filepath.Base(s.ModelDir), s.ModelDir)
	}
	w.Flush()
}

// keptNote says of which weights the held-out loss is, where they are not the last.
func keptNote(s *recipe.Summary) string {
	if s.Last == nil {
		return ""
	}
	return fmt.Sprintf(" (of step %d, whose weights are kept; of step %d: %.4f)", s.ValidationStep, s.Steps, s.Last["loss"])
}

// showMetrics prints numbers by name.
func showMetrics(out io.Writer, metrics map[string]float64) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		fmt.Fprintf(w, "%s\t%s\n", name, fixed(metrics[name]))
	}
	w.Flush()
}
