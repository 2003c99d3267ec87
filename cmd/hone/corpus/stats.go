package corpus

import (
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/data"
	"hone/data/curate"
	"hone/recipe/curation"
)

// SourceFlags are the flags of commands that read documents.
func SourceFlags(cmd *cobra.Command, s *data.Sources) {
	cmd.Flags().StringVar(&s.Field, "text-field", "text", "JSON key or Parquet column that holds the text")
	cmd.Flags().StringVar((*string)(&s.OnBadRecord), "on-bad-record", "error", "at a malformed record: error, or skip and name it")
	cmd.Flags().StringVar((*string)(&s.OnBadFile), "on-bad-file", "error", "at a file that cannot be read or unpacked: error, or skip and name it")
}

// byFlags is an error of sources of which the choices are flags and no keys.
type byFlags struct{ error }

func (e byFlags) Unwrap() error { return e.error }

func (e byFlags) Error() string {
	return strings.NewReplacer("on_bad_record=", "--on-bad-record=", "on_bad_file=", "--on-bad-file=",
		"set text_field to", "set --text-field to", "which text_field can", "which --text-field can").Replace(e.error.Error())
}

// plainPaths are arguments that are paths by themselves. Most commands take them as data=PATH, and other settings as keys, and who is used to that is told what
// to write here.
func plainPaths(cmd *cobra.Command) ([]string, error) {
	args := cmd.Flags().Args()
	for _, arg := range args {
		key, value, isKey := strings.Cut(arg, "=")
		if _, err := os.Stat(arg); !isKey || err == nil {
			continue
		}
		flag := strings.ReplaceAll(key, "_", "-")
		switch {
		case key == "data":
			return nil, fmt.Errorf("there is no file %s; this command takes paths without a key: write %s", arg, strings.ReplaceAll(value, ",", " "))
		case cmd.Flags().Lookup(flag) != nil:
			return nil, fmt.Errorf("there is no file %s; this command takes flags and no keys: write --%s=%s", arg, flag, value)
		}
	}
	return args, nil
}

// noteRead says what was read and what was left out.
func noteRead(a *cli.App, stats *data.Stats) {
	if stats.Documents == 0 && len(stats.Skipped) == 0 {
		return // an earlier run read it
	}
	fmt.Fprintln(a.Notes(), stats)
	for _, what := range slices.Concat(stats.BadRecords, stats.Unreadable) {
		fmt.Fprintln(a.Notes(), "left out:", what)
	}
}

func statsCommand(a *cli.App) *cobra.Command {
	s, tokenizer := data.Sources{}, ""
	cfg := curate.SurveyConfig{Workers: runtime.GOMAXPROCS(0)}
	cmd := &cobra.Command{
		Use: "stats DATA...", Short: "Count documents, text, tokens, copies and common lines",
		Long: "Reads files, folders or globs once and counts: documents, bytes, characters, words, lines, tokens with a tokenizer, quantiles of the lengths,\n" +
			"documents that equal an earlier one, kinds of files, languages (of one in eight), scripts of the letters, the most common lines. Memory does not grow with the data.",
		Example: "  hone data stats crawl/\n  hone data stats 'src/**/*.go' --tokenizer runs/first/model --json", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if s.Paths, err = plainPaths(cmd); err != nil {
				return err
			}
			if tokenizer, err = machine.TokenizerPath(tokenizer); err != nil {
				return err
			}
			if cfg.Tokens, err = curation.TokenCounter(tokenizer); err != nil {
				return err
			}
			bar := cli.NewProgress(a.Err)
			cfg.Progress = func(n int64) { bar.Live(fmt.Sprintf("%d documents", n), false) }
			stats := &data.Stats{}
			survey, err := curate.Look(cmd.Context(), s.Documents(stats), cfg)
			bar.Clear()
			if err != nil {
				return byFlags{err}
			}
			noteRead(a, stats)
			return a.Result(survey, func(w io.Writer) { showSurvey(w, survey) })
		},
	}
	SourceFlags(cmd, &s)
	cmd.Flags().StringVar(&tokenizer, "tokenizer", "", "folder or file of a tokenizer, or the name of a model in the cache, to count tokens with")
	cmd.Flags().IntVar(&cfg.CommonLines, "lines", 15, "common lines to list")
	return cmd
}

// showSurvey prints a survey: counts, quantiles of the lengths, and the largest parts of each kind.
func showSurvey(out io.Writer, s *curate.Survey) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	count := func(name string, n int64) { fmt.Fprintf(w, "%s\t%d\n", name, n) }
	count("documents", s.Documents)
	count("bytes", s.Bytes)
	count("characters", s.Characters)
	count("words", s.Words)
	count("lines", s.Lines)
	if s.Tokens > 0 {
		fmt.Fprintf(w, "tokens\t%d (%.2f bytes each)\n", s.Tokens, quotient(s.Bytes, s.Tokens))
	}
	fmt.Fprintf(w, "copies\t%d documents (%.1f%%), %s, equal an earlier one\n", s.Duplicates.Documents, 100*s.DuplicateShare, cli.BytesText(s.Duplicates.Bytes))
	w.Flush()

	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nlength in\tmean\tmin\t5%\t25%\tmedian\t75%\t95%\t99%\tmax\t")
	for _, unit := range slices.Sorted(maps.Keys(s.Lengths)) {
		l := s.Lengths[unit]
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", unit, l.Mean, l.Min, l.P5, l.P25, l.P50, l.P75, l.P95, l.P99, l.Max)
	}
	w.Flush()
	parts(out, "files", s.Extensions)
	parts(out, "languages", s.Languages)
	parts(out, "letters", s.Scripts)
	if len(s.CommonLines) == 0 {
		return
	}
	fmt.Fprintln(out, "\nmost common lines")
	for _, l := range s.CommonLines {
		fmt.Fprintf(out, "%9d  %s\n", l.Count, cli.Shown(l.Text))
	}
	if s.LinesMissed > 0 {
		fmt.Fprintf(out, "each stands up to %d times more: there are too many different lines to count all\n", s.LinesMissed)
	}
}

// parts prints the largest parts of a kind in a line.
func parts(out io.Writer, kind string, list []curate.Part) {
	const shown = 8
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s:", kind)
	for i, p := range list[:min(len(list), shown)] {
		sep := ","
		if i == 0 {
			sep = ""
		}
		fmt.Fprintf(out, "%s %s %.1f%%", sep, p.Name, 100*p.Share)
	}
	if len(list) > shown {
		fmt.Fprintf(out, " and %d more", len(list)-shown)
	}
	fmt.Fprintln(out)
}
