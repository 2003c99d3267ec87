// Package bench has the commands of hone bench, one in a file: they time what hone does, on this machine and in this run, beside what the machine could do
// and what the plan says.
package bench

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/device"
	"hone/device/cuda"
)

// Command is hone bench, with a command for each benchmark.
func Command(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure speed and memory", Example: "  hone bench train --workload W1_babygpt --dtype f32 --steps 10 --json\n  hone bench gemm",
		Args: cobra.ArbitraryArgs, RunE: cli.OnlyCommands}
	cmd.AddCommand(trainCommand(a), methodsCommand(a), dedupCommand(a), curateCommand(a), generateCommand(a), tokenizerCommand(a), loadCommand(a),
		ppoCommand(a), gemmCommand(a), kernelsCommand(a))
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
