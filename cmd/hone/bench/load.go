package bench

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/device"
	"hone/device/cpu"
	"hone/internal/clock"
	"hone/model"
	"hone/safetensors"
)

// loadResult is the result of hone bench load. GB are 10^9 bytes of the file.
type loadResult struct {
	GB      float64   `json:"gb"`
	Threads int       `json:"threads"`
	Loads   []loadRow `json:"loads"`
}

// loadRow is one way of loading: best times of all runs.
type loadRow struct {
	Stored string  `json:"stored"` // type in the file
	DType  string  `json:"dtype"`  // type on the device
	Cold   bool    `json:"cold"`   // the file was not in memory
	CatS   float64 `json:"cat_s"`  // reading the file into one small buffer over and over, as cat does
	OpenS  float64 `json:"open_s"` // opening the model
	Ratio  float64 `json:"ratio"`  // OpenS to CatS
}

// loadConfig is a llama of 0.5 billion parameters, 1 GB in bf16.
const loadConfig = `{"model_type":"llama","vocab_size":32000,"hidden_size":2048,"intermediate_size":5632,"num_hidden_layers":8,
	"num_attention_heads":32,"num_key_value_heads":4,"max_position_embeddings":4096}`

// loadCommand sets the time of opening a model beside that of reading its file, the least there can be.
func loadCommand(a *cli.App) *cobra.Command {
	r, dir, runs := loadResult{Threads: runtime.GOMAXPROCS(0)}, os.TempDir(), 3
	cmd := &cobra.Command{
		Use: "load", Short: "Time opening a model of 1 GB beside reading its file", Example: "  hone bench load --json\n  hone bench load --dir /data --runs 5",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if runs < 1 || r.Threads < 1 {
				return fmt.Errorf("runs is %d and threads %d; both must be at least 1", runs, r.Threads)
			}
			if err := r.run(dir, runs); err != nil {
				return err
			}
			return a.Result(r, r.table)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "folder on the disk to measure; it needs 2 GB")
	cmd.Flags().IntVar(&r.Threads, "threads", r.Threads, "cores to use")
	cmd.Flags().IntVar(&runs, "runs", runs, "runs, of which the best counts")
	return cmd
}

func (r *loadResult) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "stored\ton the device\tin memory\tcat\topen\tratio\t\n")
	for _, l := range r.Loads {
		fmt.Fprintf(w, "%s\t%s\t%v\t%.2f s\t%.2f s\t%.2f\t\n", l.Stored, l.DType, !l.Cold, l.CatS, l.OpenS, l.Ratio)
	}
	w.Flush()
}

// run measures each pair of types in the file and on the device. Only F32 is also loaded cold: the disk does not know of types.
func (r *loadResult) run(dir string, runs int) error {
	dir, err := os.MkdirTemp(dir, "hone-load-")
	if err != nil {
		return fmt.Errorf("make a folder for the model: %w; name one by --dir that can be written to", err)
	}
	defer os.RemoveAll(dir)
	for _, stored := range []safetensors.DType{safetensors.BF16, safetensors.F16, safetensors.F32} {
		if err := writeLoadModel(dir, stored); err != nil {
			return err
		}
		for _, l := range []struct {
			dtype device.DType
			cold  bool
		}{{device.F32, false}, {device.BF16, false}, {device.F32, true}} {
			result, err := r.measure(dir, l.dtype, l.cold, runs)
			if err != nil {
				return err
			}
			result.Stored = stored.String()
			r.Loads = append(r.Loads, result)
		}
	}
	return nil
}

// writeLoadModel makes the model folder, with numbers that are no denormals.
func writeLoadModel(dir string, stored safetensors.DType) error {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Declare([]byte(loadConfig), dev)
	if err != nil {
		return err
	}
	defer m.Free()
	var plan []safetensors.Info
	longest := 0
	for _, p := range m.Params {
		plan = append(plan, safetensors.Info{Name: p.Name, DType: stored, Shape: p.Shape})
		longest = max(longest, p.Len())
	}
	values, random := make([]float32, longest), rand.New(rand.NewPCG(1, 2))
	// Denormals would make conversions on some processors many times slower than of any real weights.
	for i := range values {
		values[i] = random.Float32() - 0.5
	}
	w, err := safetensors.CreateModel(dir, plan, 0)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, p := range m.Params {
		if err := w.WriteFloat32(p.Name, values[:p.Len()]); err != nil {
			return err
		}
	}
	return errors.Join(w.Commit(), os.WriteFile(filepath.Join(dir, "config.json"), []byte(loadConfig), 0o666))
}

// measure takes turns between cat and opening the model.
func (r *loadResult) measure(dir string, dtype device.DType, cold bool, runs int) (loadRow, error) {
	result := loadRow{DType: dtype.String(), Cold: cold}
	path := filepath.Join(dir, safetensors.SingleName)
	timed := func(best *float64, f func() (time.Duration, error)) error {
		if cold {
			if err := forget(path); err != nil {
				return err
			}
		}
		d, err := f()
		if s := d.Seconds(); *best == 0 || s < *best {
			*best = s
		}
		return err
	}
	for range runs {
		err := timed(&result.CatS, func() (time.Duration, error) { return cat(path) })
		if err == nil {
			err = timed(&result.OpenS, func() (time.Duration, error) { return r.open(dir, dtype) })
		}
		if err != nil {
			return result, err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return result, err
	}
	r.GB, result.Ratio = float64(info.Size())/1e9, result.OpenS/result.CatS
	return result, nil
}

func (r *loadResult) open(dir string, dtype device.DType) (time.Duration, error) {
	dev := cpu.New(cpu.Options{Threads: r.Threads})
	defer dev.Close()
	begin := clock.Now()
	m, err := model.Open(dir, dev, dtype)
	d := clock.Since(begin)
	if err == nil {
		m.Free()
	}
	return d, err
}

// cat reads a file as the program of that name does, into nothing.
func cat(path string) (time.Duration, error) {
	begin := clock.Now()
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 128<<10)
	for err == nil {
		_, err = f.Read(buf)
	}
	if err == io.EOF {
		err = nil
	}
	return clock.Since(begin), err
}
