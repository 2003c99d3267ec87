package plan

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed launch
var launchFiles embed.FS

// Job is a planned run as a scheduler is told of it. Its files stand in one folder with the recipe, and its paths are relative to
// the folder on the machines that holds data, models and runs.
type Job struct {
	Name         string // a label of DNS
	Stage        string // the command of hone
	Recipe       []byte // recipe.yaml
	Out          string // folder of the run
	Result       string // what stands in it when the run is complete: model or adapter
	GPU          GPU
	Machines     int
	GPUs         int    // of a machine
	HostGiB      int    // memory of a machine that the run takes
	DiskGiB      int    // for data, models and checkpoints
	Provider     string // cloud of the plan's price, empty for any
	Spot         bool
	LimitMinutes int    // a session of the run; it is gone on with in the next
	Binary       string // URL of hone, empty where it is named when the job is started
	Image        string // of containers
	Partition    string // of Slurm, as Account
	Account      string
	Assumptions  []string // lines that the files begin with
}

// Launchers are the schedulers that jobs can be written for, with the names of their files.
func Launchers() map[string]string {
	return map[string]string{"slurm": "job.sbatch", "k8s": "job.yaml", "skypilot": "task.yaml"}
}

// File is the job file of a scheduler of Launchers.
func (j Job) File(launcher string) ([]byte, error) {
	t, err := template.New(launcher+".tmpl").Funcs(template.FuncMap{
		"yaml": quoteYAML, "shell": quoteShell, "indent": indent, "limit": slurmTime, "cloud": skyClouds, "sky": j.skyName,
		"times": func(a, b int) int { return a * b },
	}).ParseFS(launchFiles, "launch/"+launcher+".tmpl")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, j)
	return b.Bytes(), err
}

// quoteYAML writes a string as a scalar of YAML, where double quotes are those of JSON.
func quoteYAML(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}

// quoteShell writes a string as one word.
func quoteShell(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:="
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// indent puts n spaces before every line.
func indent(n int, text []byte) string {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Repeat(" ", n) + strings.Join(lines, "\n"+strings.Repeat(" ", n))
}

// slurmTime is days-hours:minutes:seconds.
func slurmTime(minutes int) string {
	return fmt.Sprintf("%d-%02d:%02d:00", minutes/(24*60), minutes/60%24, minutes%60)
}

// skyClouds are the names of clouds that SkyPilot knows.
func skyClouds(provider string) string {
	switch provider {
	case "aws", "gcp", "azure", "lambda", "runpod":
		return provider
	}
	return ""
}

// skyNames are the accelerators of SkyPilot's catalogs, some of which a cloud calls otherwise.
var skyNames = map[string]string{
	"v100-16gb": "V100", "v100": "V100-32GB", "t4": "T4", "a100-40gb": "A100", "a100": "A100-80GB", "a10g": "A10G", "a10": "A10",
	"a6000": "RTXA6000", "lambda/a6000": "A6000", "l4": "L4", "l40s": "L40S", "rtx3090": "RTX3090", "rtx4090": "RTX4090", "rtx6000-ada": "RTX6000-Ada",
	"h100-pcie": "H100", "h100": "H100", "runpod/h100": "H100-SXM", "h200": "H200", "runpod/h200": "H200-SXM", "b200": "B200",
}

func (j Job) skyName() string {
	return cmp.Or(skyNames[j.Provider+"/"+j.GPU.Name], skyNames[j.GPU.Name])
}
