package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/data"
	"hone/internal/clock"
	"hone/internal/gosource"
	"hone/tokenizer"
)

// tokenizerResult is the result of hone bench tokenizer. MB are 10^6 bytes.
type tokenizerResult struct {
	TextMB   float64         `json:"text_mb"`
	Vocab    int             `json:"vocab_size"`
	Threads  int             `json:"threads"`
	Patterns []patternResult `json:"patterns"`
}

type patternResult struct {
	Pattern   string  `json:"pattern"`
	TrainS    float64 `json:"train_s"`          // learning the vocabulary, reading apart
	OneMBps   float64 `json:"mb_per_s"`         // encoding with one goroutine, best run
	ManyMBps  float64 `json:"mb_per_s_threads"` // with Threads goroutines
	Tokens    int64   `json:"tokens"`
	BytesPerT float64 `json:"bytes_per_token"`
}

// tokenizerCommand measures how fast text becomes tokens and how fast a tokenizer is trained, in MB of text a second.
func tokenizerCommand(a *cli.App) *cobra.Command {
	r, files, runs := tokenizerResult{Vocab: 32000, Threads: runtime.GOMAXPROCS(0)}, []string(nil), 3
	cmd := &cobra.Command{
		Use: "tokenizer [FILE ...]", Short: "Time training a byte-level BPE and encoding with it, on Go's standard library or on files",
		Example: "  hone bench tokenizer --json\n  hone bench tokenizer corpus/ --vocab-size 50000",
		RunE: func(cmd *cobra.Command, args []string) error {
			if files = args; len(files) == 0 {
				src, err := gosource.Packages(cmd.Context())
				if err != nil {
					return fmt.Errorf("%w; name files or folders to read", err)
				}
				files = src
			}
			if runs < 1 || r.Threads < 1 {
				return fmt.Errorf("runs is %d and threads %d; both must be at least 1", runs, r.Threads)
			}
			if err := r.run(cmd.Context(), files, runs); err != nil {
				return err
			}
			return a.Result(r, r.table)
		},
	}
	cmd.Flags().IntVar(&r.Vocab, "vocab-size", r.Vocab, "tokens to learn")
	cmd.Flags().IntVar(&r.Threads, "threads", r.Threads, "goroutines")
	cmd.Flags().IntVar(&runs, "runs", runs, "runs of encoding, of which the best counts")
	return cmd
}

func (r *tokenizerResult) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "%.1f MB of text, %d tokens\n", r.TextMB, r.Vocab)
	fmt.Fprintf(w, "pattern\ttraining\tencoding, 1 goroutine\t%d goroutines\tratio\tbytes per token\t\n", r.Threads)
	for _, p := range r.Patterns {
		fmt.Fprintf(w, "%s\t%.1f s\t%.0f MB/s\t%.0f MB/s\t%.2f\t%.2f\t\n", p.Pattern, p.TrainS, p.OneMBps, p.ManyMBps, p.ManyMBps/p.OneMBps, p.BytesPerT)
	}
	w.Flush()
}

func (r *tokenizerResult) run(ctx context.Context, files []string, runs int) error {
	var docs [][]byte
	size := 0
	for d, err := range (data.Sources{Paths: files}).Documents(&data.Stats{}) {
		if err != nil {
			return err
		}
		docs, size = append(docs, d.Text), size+len(d.Text)
	}
	r.TextMB = float64(size) / 1e6
	for _, pattern := range []string{tokenizer.PatternGPT2, tokenizer.PatternLlama3} {
		p := patternResult{Pattern: pattern}
		begin := clock.Now()
		tok, err := tokenizer.Train(ctx, func(yield func([]byte, error) bool) {
			for _, d := range docs {
				if !yield(d, nil) {
					return
				}
			}
		}, tokenizer.TrainConfig{VocabSize: r.Vocab, Pattern: pattern, Workers: r.Threads})
		if err != nil {
			return err
		}
		p.TrainS = clock.Since(begin).Seconds()
		for range runs {
			p.OneMBps = max(p.OneMBps, r.TextMB/p.encode(tok, docs, 1))
			p.ManyMBps = max(p.ManyMBps, r.TextMB/p.encode(tok, docs, r.Threads))
		}
		p.BytesPerT = float64(size) / float64(p.Tokens)
		r.Patterns = append(r.Patterns, p)
	}
	return nil
}

// encode encodes all documents with so many goroutines, each with empty caches, and returns the seconds.
func (p *patternResult) encode(tok *tokenizer.Tokenizer, docs [][]byte, goroutines int) float64 {
	var next, tokens atomic.Int64
	var wg sync.WaitGroup
	begin := clock.Now()
	for range goroutines {
		wg.Go(func() {
			e, ids := tok.NewEncoder(), make([]int32, 0, 1<<16)
			for i := next.Add(1) - 1; int(i) < len(docs); i = next.Add(1) - 1 {
				ids = e.Encode(ids[:0], docs[i])
				tokens.Add(int64(len(ids)))
			}
		})
	}
	wg.Wait()
	p.Tokens = tokens.Load()
	return clock.Since(begin).Seconds()
}
