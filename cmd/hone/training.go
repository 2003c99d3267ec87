package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hone/device"
	"hone/device/cpu"
	"hone/plan"
	"hone/plan/meter"
	"hone/recipe"
	"hone/recipe/config"
	"hone/report"
)

// training is a command that trains by a recipe.
type training struct {
	name, short, long string // long: what stands above the keys
	example           string
	defaults          func() (trainer, *recipe.Training)         // a recipe with its defaults, and the keys in it that all recipes share
	metrics           func(s *recipe.Summary) map[string]float64 // what is shown beside the summary; nil: nothing
}

// trainings are the commands that train, by name.
func trainings() map[string]training {
	all := map[string]training{}
	for _, s := range []training{pretrainStage(), sftStage(), rewardStage(), dpoStage(), ppoStage(), grpoStage()} {
		all[s.name] = s
	}
	return all
}

// command makes the command. A recipe whose run can be planned has --dry-run.
func (t training) command(a *app) *cobra.Command {
	defaults, _ := t.defaults()
	dry := false
	cmd := &cobra.Command{
		Use: t.name + " [RECIPE.yaml] [path=value ...]", Short: t.short, Example: t.example,
		Long: t.long + "\n\nKeys, in YAML or as path=value:\n" + keys(defaults),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, shared := t.defaults()
			path, overrides := splitArgs(args)
			if err := config.Load(c, path, overrides); err != nil {
				return err
			}
			if err := resolveModels(c); err != nil {
				return err
			}
			// A key that is set and changes nothing is a misunderstanding that costs a run: it is told, and no error, as recipes are shared by methods.
			untouched, _ := t.defaults()
			a.noteUnused(c, untouched)
			if err := c.Validate(); err != nil {
				return t.orItsRecipe(err, path, shared)
			}
			if dry {
				return a.dryRun(cmd.Context(), c.(planner), shared)
			}
			s, err := a.train(cmd.Context(), c, shared)
			if err != nil {
				return err
			}
			return a.result(s, func(w io.Writer) {
				summarise(w, s)
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

// orItsRecipe adds to an error of the keys of a run that is to go on where its recipe is, which has all that were not given again.
func (t training) orItsRecipe(err error, path string, c *recipe.Training) error {
	kept := filepath.Join(c.Out, config.FileName)
	if _, none := os.Stat(kept); none != nil || !c.Resume || c.Out == "" || path != "" {
		return err
	}
	return fmt.Errorf("%w; the keys of the run are in its recipe: hone %s %s resume=true", err, t.name, kept)
}

// validation is what was measured on held-out data.
func validation(s *recipe.Summary) map[string]float64 { return s.Validation }

// planner is a recipe whose run can be planned.
type planner interface {
	Validate() error
	Plan(ctx context.Context, env recipe.Env) (*recipe.Planned, error)
}

// dryRun prints what a run would need.
func (a *app) dryRun(ctx context.Context, r planner, c *recipe.Training) error {
	if err := r.Validate(); err != nil {
		return err
	}
	progress := newProgress(a.err, 0)
	var rates plan.Meter // of a GPU none are known
	if kind, _, _ := device.ParseName(c.Device); kind == "cpu" {
		rates = a.meters.Meter(meter.NewPeak(c.Threads, c.DType))
	}
	p, err := r.Plan(ctx, recipe.Env{Progress: progress.stage, Meter: rates, Arranged: cpu.ArrangedLen})
	progress.clear()
	if err != nil {
		return err
	}
	for _, note := range p.Notes {
		fmt.Fprintln(a.err, "note:", note)
	}
	return a.result(p, p.Print)
}

// resolveModels puts folders in the place of names of models in the cache.
func resolveModels(c trainer) (err error) {
	for _, key := range c.Models() {
		if *key, err = modelDir(*key); err != nil {
			return err
		}
	}
	return nil
}

// splitArgs tells a recipe's path, the first argument without "=" wherever it stands, from overrides.
func splitArgs(args []string) (path string, overrides []string) {
	i := slices.IndexFunc(args, func(arg string) bool { return !strings.Contains(arg, "=") })
	if i < 0 {
		return "", args
	}
	return args[i], slices.Delete(slices.Clone(args), i, i+1)
}

// keys lists the keys of a recipe with their defaults.
func keys(c any) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range config.Fields(c) {
		doc := f.Doc
		if f.Default != "" {
			doc += " [" + f.Default + "]"
		}
		fmt.Fprintf(w, "  %s\t%s\n", f.Path, doc)
	}
	w.Flush()
	return b.String()
}

// knowing is a recipe that knows which of its keys have no effect beside the others.
type knowing interface{ Unused(key string) string }

// noteUnused tells of keys that are set and change nothing.
func (a *app) noteUnused(c, defaults knowing) {
	for _, note := range unused(c, defaults) {
		fmt.Fprintln(a.err, "note:", note)
	}
}

// unused says which keys of a recipe are not as by default and change nothing.
func unused(c, defaults knowing) (notes []string) {
	before, now := config.Flatten(defaults), config.Flatten(c)
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if with := c.Unused(key); with != "" && now[key] != before[key] {
			notes = append(notes, fmt.Sprintf("%s has no effect with %s", key, with))
		}
	}
	return notes
}

// trainer is a recipe of training.
type trainer interface {
	knowing
	Models() []*string
	recipe.Runner
}

// train runs a recipe, whose shared keys are c, and writes its report.
func (a *app) train(ctx context.Context, r recipe.Runner, c *recipe.Training) (*recipe.Summary, error) {
	begun := time.Now()
	outlivePipes()
	if err := r.Validate(); err != nil {
		return nil, err
	}
	dev, done, err := openDevice(c.Device, c.Threads)
	if err != nil {
		return nil, err
	}
	defer done()
	p := newProgress(a.notes(), c.Steps)
	// before the run, while the machine is at rest
	peak := meter.PeakOf(dev, c.Threads, c.DType)
	p.peak = peak
	s, err := r.Run(ctx, recipe.Env{Device: dev, Events: p.event, Progress: p.stage, Begun: begun, Meter: a.meters.Meter(peak), Memory: memoryOf(dev), Arranged: cpu.ArrangedLen})
	p.clear()
	if err != nil {
		return nil, err
	}
	// also of a run that was interrupted: what there is may tell why it should not go on
	if _, err := report.Write(c.Out); err != nil {
		return nil, err
	}
	return s, nil
}

// against words a plan beside what was taken, where there is one.
func against(planned string, p, measured float64) string {
	if !(p > 0 && measured > 0) {
		return ""
	}
	return fmt.Sprintf(" (planned: %s, %+.0f%%)", planned, 100*(p/measured-1))
}

// summarise prints the outcome of a run as a table.
func summarise(out io.Writer, s *recipe.Summary) {
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
	fmt.Fprintf(w, "peak memory\t%s%s\n", bytesText(s.PeakMemoryBytes), against(bytesText(s.PlannedMemoryBytes), float64(s.PlannedMemoryBytes), float64(s.PeakMemoryBytes)))
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
