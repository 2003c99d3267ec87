package machine

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/hub"
)

// Pull is hone pull, which downloads a model into the cache.
func Pull(a *cli.App) *cobra.Command {
	var include []string
	cmd := &cobra.Command{
		Use:   "pull ORG/NAME[@REVISION]",
		Short: "Download a model from a hub",
		Long: "Downloads what hone needs of a model (configuration, safetensors, tokenizer, chat template) into the cache that the Python libraries\n" +
			"use too, and prints its folder. What is there is not downloaded again; what was cut off goes on. Commands then take the name for the folder.\n\n" +
			"Environment: HF_TOKEN (for private models), HF_ENDPOINT (another hub), HF_HOME or HF_HUB_CACHE (where the cache is), HF_HUB_OFFLINE (only what the cache has).",
		Example: "  hone pull HuggingFaceTB/SmolLM2-135M-Instruct\n  hone pull org/name@v1.0 --include '*.gguf'\n  hone chat HuggingFaceTB/SmolLM2-135M-Instruct",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return download(cmd, a, args[0], include)
		},
	}
	cmd.Flags().StringArrayVar(&include, "include", nil, "files to download instead, as a `pattern` such as '*.gguf'; may be given several times")
	return cmd
}

// download prints the folder alone, so that a shell can put it into the next command.
func download(cmd *cobra.Command, a *cli.App, arg string, include []string) error {
	name, err := hub.ParseName(arg)
	if err != nil {
		return err
	}
	for _, p := range include {
		if _, err := filepath.Match(p, ""); err != nil {
			return fmt.Errorf("--include %s is not a pattern: %w", p, err)
		}
	}
	client, err := hubClient()
	if err != nil {
		return err
	}
	if offline := offlineBy(); offline != "" {
		dir, ok := hub.Find(client.Cache, name)
		if !ok {
			return fmt.Errorf("pull %s: %s is set, so nothing is downloaded, and the cache %s does not have it", name, offline, client.Cache)
		}
		return a.Result(map[string]any{"model": name.Repo, "dir": dir}, func(w io.Writer) { fmt.Fprintln(w, dir) })
	}
	bar := cli.NewProgress(a.Err)
	begin := time.Now()
	last := hub.Progress{}
	var mu sync.Mutex // files are tried again each by itself
	client.Retrying = func(err error, pause time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		bar.Line("%s; trying again in %s", cli.Shown(err.Error()), pause.Round(time.Second/10))
	}
	dir, err := client.Pull(cmd.Context(), name, include, func(p hub.Progress) {
		mu.Lock()
		defer mu.Unlock()
		// Without a terminal only of a download that takes a while: a line for each of a few small files is noise.
		if bar.Terminal || time.Since(begin) > time.Second {
			bar.Live(pullLine(p, time.Since(begin)), p.FilesDone == p.Files)
		}
		last = p
	})
	bar.Clear()
	if err != nil {
		return err
	}
	return a.Result(map[string]any{"model": name.Repo, "dir": dir, "bytes": last.Bytes, "downloaded": last.Bytes - last.Cached}, func(w io.Writer) {
		fmt.Fprintln(w, dir)
	})
}

// pullLine is the state of a download, with its speed.
func pullLine(p hub.Progress, since time.Duration) string {
	const mega = 1e6
	fresh := float64(p.BytesIn-p.Cached) / mega
	return fmt.Sprintf("%d of %d files  %.1f of %.1f MB  %.1f MB/s", p.FilesDone, p.Files, float64(p.BytesIn)/mega, float64(p.Bytes)/mega, fresh/since.Seconds())
}
