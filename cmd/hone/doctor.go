package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"hone/device/cpu"
)

func doctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Say what this machine has and which kernels are used", Example: "  hone doctor --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dev := cpu.New(cpu.Options{})
			defer dev.Close()
			p := cpu.MeasurePeak(0)
			corpus, err := standardLibrary(cmd.Context())
			if err != nil {
				corpus = "not found; hone quickstart needs data=PATH"
			}
			return a.result(map[string]any{"system": runtime.GOOS + "/" + runtime.GOARCH, "cores": runtime.GOMAXPROCS(0), "device": dev.Name(), "peak": p, "corpus": corpus}, func(w io.Writer) {
				fmt.Fprintf(w, "system     %s/%s, %d cores\ndevice     %s\n", runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), dev.Name())
				fmt.Fprintf(w, "f32        %.0f GFLOP/s\n", p.F32)
				if p.BF16 > 0 {
					fmt.Fprintf(w, "bf16       %.0f GFLOP/s\n", p.BF16)
				} else {
					fmt.Fprintln(w, "bf16       no instruction for it here: bf16 saves memory, not time")
				}
				fmt.Fprintf(w, "memory     read %.0f GB/s, copy %.0f GB/s, update %.0f GB/s\ncorpus     %s\n", p.ReadGBs, p.CopyGBs, p.UpdateGBs, corpus)
			})
		},
	}
}
