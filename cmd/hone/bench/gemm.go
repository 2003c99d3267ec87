package bench

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/device"
	"hone/device/cpu/peak"
)

// gemmCommand times products of the shapes that training has, beside the machine's peak in the same run.
func gemmCommand(a *cli.App) *cobra.Command {
	threads, runs := runtime.GOMAXPROCS(0), 3
	cmd := &cobra.Command{
		Use: "gemm", Short: "Sweep matrix products of training shapes against the measured peak", Example: "  hone bench gemm --json",
		RunE: func(*cobra.Command, []string) error {
			if threads < 0 || threads > device.MaxThreads {
				return fmt.Errorf("threads is %d; use a number up to %d, or 0 for all cores", threads, device.MaxThreads)
			}
			if runs < 1 {
				return fmt.Errorf("runs is %d; it must be at least 1", runs)
			}
			for _, r := range peak.BenchGEMM(threads, peak.TrainingShapes(), runs) {
				dtype := "f32"
				if r.BF16 {
					dtype = "bf16"
				}
				line := map[string]any{"dtype": dtype, "form": r.Form, "m": r.M, "n": r.N, "k": r.K, "gflops": r.GFLOPS, "share_of_peak": r.ShareOfPeak}
				err := a.Result(line, func(w io.Writer) {
					fmt.Fprintf(w, "%-4s %s %5d x %5d x %5d  %6.1f GFLOP/s  %3.0f%%\n", dtype, r.Form, r.M, r.N, r.K, r.GFLOPS, 100*r.ShareOfPeak)
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&threads, "threads", threads, "cores to use")
	cmd.Flags().IntVar(&runs, "runs", runs, "interleaved runs, of which the best counts")
	return cmd
}
