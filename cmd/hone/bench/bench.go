// Package bench has the commands of hone bench, one in a file: they time what hone does, on this machine and in this run, beside what the machine could do
// and what the plan says.
package bench

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hone/data"
	"hone/data/curate"
	"hone/device"
	"hone/device/cuda"
	"hone/recipe"
)

// Program is what the benchmarks need of the program that they are a command of.
type Program struct {
	// Result prints v as an object in a line, or calls text, whichever the user asked for.
	Result func(v any, text func(w io.Writer)) error
	// Notes is where progress goes, beside the results.
	Notes func() io.Writer
	// Open opens the device of a name, with the time that a card takes for each kernel if timing. The caller closes it.
	Open func(name string, threads int, timing bool) (dev device.Device, closeDevice func(), err error)
	// ModelDir is the folder of a model: the one of that name, or that of a model of the cache.
	ModelDir func(name string) (string, error)
	// Train runs a recipe, whose shared keys are c, as its own command does.
	Train func(ctx context.Context, r recipe.Runner, c *recipe.Training) (*recipe.Summary, error)
	// Rate is a learning rate that suits the quickstart's model with a method; "" where it is the recipe's.
	Rate func(method string) string
	// SourceFlags adds the flags of commands that read documents.
	SourceFlags func(cmd *cobra.Command, s *data.Sources)
	// Funnel prints how many documents each step of a curation left, under the name that is given for them.
	Funnel func(out io.Writer, r *curate.Result, documents string)
}

// Command is hone bench, with a command for each benchmark.
func Command(hone *Program) *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure speed and memory", Example: "  hone bench train --workload W1_babygpt --dtype f32 --steps 10 --json\n  hone bench gemm"}
	cmd.AddCommand(trainCommand(hone), methodsCommand(hone), dedupCommand(hone), curateCommand(hone), generateCommand(hone), tokenizerCommand(hone), loadCommand(hone),
		ppoCommand(hone), gemmCommand(hone), kernelsCommand(hone))
	return cmd
}

// kernelTimes are those of the calls since the last time it was asked, of a device opened for it.
func kernelTimes(dev device.Device) ([]cuda.KernelTime, error) {
	if d, ok := dev.(*cuda.Device); ok {
		return d.Times()
	}
	return nil, nil
}

// printKernels shows the share of each kernel in the time that the card was busy.
func printKernels(w io.Writer, times []cuda.KernelTime) {
	sum := 0.0
	for _, t := range times {
		sum += t.Seconds
	}
	for _, t := range times {
		fmt.Fprintf(w, "%5.1f%% %10.3f ms %7d calls %9.1f us  %s\n", 100*t.Seconds/sum, 1e3*t.Seconds, t.Calls, 1e6*t.Seconds/float64(t.Calls), t.Name)
	}
}
