package training

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"hone/cmd/hone/cli"
	"hone/internal/atomicfile"
	"hone/plan"
	"hone/recipe"
	"hone/recipe/cluster"
	"hone/recipe/config"
)

// launchers lists what --launch can be.
func launchers() string { return strings.Join(slices.Sorted(maps.Keys(plan.Launchers())), ", ") }

// writeJob writes the job files of a plan and returns their paths.
func writeJob(launcher string, c *cluster.Estimate, e *cluster.Estimated) ([]string, error) {
	name, ok := plan.Launchers()[launcher]
	if !ok {
		return nil, fmt.Errorf("--launch is %q; use one of %s", launcher, launchers())
	}
	job, keys, err := c.Job(e, launcher)
	if err != nil {
		return nil, err
	}
	r, shared, err := fillJob(&job, keys, c.Launch.Set)
	if err != nil {
		return nil, err
	}
	job.DiskGiB = c.Disk(e, r, shared)
	text, err := job.File(launcher)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Launch.Out, 0o777); err != nil {
		return nil, fmt.Errorf("launch.out: %w", err)
	}
	paths := []string{filepath.Join(c.Launch.Out, name), filepath.Join(c.Launch.Out, "recipe.yaml")}
	return paths, errors.Join(atomicfile.WriteFile(paths[0], text), atomicfile.WriteFile(paths[1], job.Recipe))
}

// fillJob makes the recipe of the job's stage from the plan's keys and the user's own, and returns it with what recipes of all stages have.
func fillJob(job *plan.Job, keys, own []string) (c trainer, shared *recipe.Training, err error) {
	s, ok := stages()[job.Stage]
	if !ok {
		return nil, nil, fmt.Errorf("stage is %s, for which no job is written", job.Stage)
	}
	c, shared = s.defaults()
	if err := config.Override(c, keys); err != nil {
		return nil, nil, err
	}
	if err := config.Override(c, own); err != nil {
		return nil, nil, fmt.Errorf("launch.set: %w", err)
	}
	device := shared.Device
	// Validate asks for the device of this machine, which need not have a card.
	shared.Device = "cpu" // what device there is, is the machines' affair
	err = c.Validate()
	shared.Device = device
	if err != nil {
		return nil, nil, fmt.Errorf("the recipe of the job: %w; launch.set=KEY=VALUE changes it", err)
	}
	if strings.ContainsFunc(shared.Out, unicode.IsControl) {
		return nil, nil, fmt.Errorf("out is %q; name a folder of the machines without control characters", shared.Out)
	}
	if device == "cpu" {
		job.Machines = 1 // they do not share a run
	}
	job.Out = shared.Out
	usual, _ := s.defaults()
	job.Recipe, err = config.EncodeChanged(c, usual)
	return c, shared, err
}

// noteUnlaunched tells of keys of job files where none are written: what is planned is not theirs.
func noteUnlaunched(a *cli.App, c *cluster.Estimate) {
	usual := cluster.DefaultEstimate()
	before, now := config.Flatten(&usual), config.Flatten(c)
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if strings.HasPrefix(key, "launch.") && now[key] != before[key] {
			fmt.Fprintf(a.Err, "note: %s has no effect without --launch, which writes job files\n", key)
		}
	}
}

// printLaunched says what was written and what to do with it.
func printLaunched(w io.Writer, launcher string, c *cluster.Estimate, gpus int, paths []string) {
	fmt.Fprintf(w, "\nwrote %s\n", strings.Join(paths, " and "))
	start := map[string]string{"slurm": "sbatch ", "k8s": "kubectl apply -f ", "skypilot": "sky jobs launch "}[launcher] + filepath.Base(paths[0])
	if launcher == "skypilot" && c.Launch.Binary == "" {
		start += " --env HONE_URL=URL"
	}
	fmt.Fprintf(w, "start it in %s: %s\n", c.Launch.Out, start)
	if launcher == "k8s" && c.Launch.Binary == "" {
		fmt.Fprintln(w, "first set HONE_URL in it, where the machines fetch hone; launch.binary=URL does that")
	}
	if gpus > 1 {
		fmt.Fprintf(w, "a run of hone computes on one GPU, so on %d this is a plan on paper; launch.set=device=cpu runs on the processors of one machine\n", gpus)
	}
}
