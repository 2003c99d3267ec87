package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/data"
	"hone/recipe/config"
	"hone/tokenizer"
)

// endOfText stands after each document, and before the first token of a text.
const endOfText = "<|endoftext|>"

// tokenizerConfig is the keys of hone tokenizer train.
type tokenizerConfig struct {
	Data      []string `yaml:"data" doc:"files, folders or globs of text"`
	TextField string   `yaml:"text_field" doc:"JSON key or Parquet column that holds the text"`
	Out       string   `yaml:"out" doc:"folder for tokenizer.json and tokenizer_config.json"`
	VocabSize int      `yaml:"vocab_size" doc:"tokens, the 256 bytes and the special tokens included"`
	Pattern   string   `yaml:"pattern" doc:"gpt2 or llama3"`
}

func defaultTokenizer() tokenizerConfig {
	return tokenizerConfig{TextField: "text", VocabSize: 8192, Pattern: tokenizer.PatternGPT2}
}

// Tokenizer is hone tokenizer, with a command to train one and two to use one.
func Tokenizer(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{Use: "tokenizer", Short: "Train a tokenizer, encode and decode text",
		Example: "  hone tokenizer train data=corpus/ out=tok vocab_size=8192\n  echo 'hello' | hone tokenizer encode tok",
		Args:    cobra.ArbitraryArgs, RunE: cli.OnlyCommands}
	cmd.AddCommand(tokenizerTrain(a), tokenizerEncode(a), tokenizerDecode(a))
	return cmd
}

func tokenizerTrain(a *cli.App) *cobra.Command {
	defaults := defaultTokenizer()
	return &cobra.Command{
		Use: "train data=PATH out=DIR [path=value ...]", Short: "Train byte-level BPE and write tokenizer.json",
		Long:    "Trains byte-level BPE on text and writes tokenizer.json.\n\nKeys:\n" + cli.Keys(&defaults),
		Example: "  hone tokenizer train data=corpus/ out=tok vocab_size=8192 pattern=llama3",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := defaultTokenizer()
			if err := config.Override(&c, args); err != nil {
				return err
			}
			if len(c.Data) == 0 || c.Out == "" {
				return errors.New("data and out are needed: hone tokenizer train data=PATH out=DIR")
			}
			if err := cli.CheckFree(c.Out); err != nil {
				return err
			}
			docs := data.Texts(data.Sources{Paths: c.Data, Field: c.TextField}.Documents(&data.Stats{}))
			t, err := tokenizer.Train(cmd.Context(), docs, tokenizer.TrainConfig{VocabSize: c.VocabSize, Pattern: c.Pattern,
				SpecialTokens: []string{endOfText}, BOS: endOfText, EOS: endOfText, Workers: runtime.GOMAXPROCS(0)})
			if err != nil {
				return err
			}
			if err := cli.WriteFolder(c.Out, t.Save); err != nil {
				return err
			}
			return a.Result(map[string]any{"out": c.Out, "vocab_size": t.VocabSize()}, func(w io.Writer) {
				fmt.Fprintf(w, "%d tokens in %s/tokenizer.json\n", t.VocabSize(), c.Out)
			})
		},
	}
}

// longestText is the most that is read of stdin, for text and ids are in memory.
const longestText = 1 << 30

// loadTokenizer reads the tokenizer of a folder or file, or of a model in the cache.
func loadTokenizer(arg string) (*tokenizer.Tokenizer, error) {
	path, err := machine.TokenizerPath(arg)
	if err != nil {
		return nil, err
	}
	return tokenizer.Load(path)
}

func tokenizerEncode(a *cli.App) *cobra.Command {
	var o tokenizer.Options
	cmd := &cobra.Command{
		Use: "encode TOKENIZER [flags] <TEXT", Short: "Turn the text on stdin into ids", Args: cobra.ExactArgs(1),
		Example: "  echo 'hello' | hone tokenizer encode tok\n  echo 'the end<|endoftext|>' | hone tokenizer encode tok --special",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := loadTokenizer(args[0])
			if err != nil {
				return err
			}
			text, err := cli.ReadAll(cmd.Context(), a.In, longestText)
			if err != nil {
				return fmt.Errorf("read stdin: %w", err)
			}
			ids := encodeAs(t, text, o)
			return a.Result(map[string]any{"ids": ids}, func(w io.Writer) { _ = json.NewEncoder(w).Encode(ids) })
		},
	}
	cmd.Flags().BoolVar(&o.ParseSpecial, "special", false, "special tokens written in the text are their ids; else they are text as any other")
	cmd.Flags().BoolVar(&o.AddSpecial, "add-special", false, "add what the tokenizer's post-processor adds to a text, such as BOS and EOS")
	return cmd
}

// encodeAs is Tokenizer.EncodeSpans without the spans, which cost memory.
func encodeAs(t *tokenizer.Tokenizer, text []byte, o tokenizer.Options) []int32 {
	var before, after []int32
	if o.AddSpecial {
		before, after = t.Special()
	}
	encode := t.Encode
	if o.ParseSpecial {
		encode = t.EncodeWithSpecial
	}
	return append(encode(append([]int32{}, before...), text), after...)
}

// tokenizerDecode writes bytes as the tokens have them, also where they are no valid text.
func tokenizerDecode(a *cli.App) *cobra.Command {
	var skip bool
	cmd := &cobra.Command{
		Use: "decode TOKENIZER [flags] <IDS", Short: "Turn the ids on stdin, a JSON list, into text", Args: cobra.ExactArgs(1),
		Example: "  echo '[1, 2]' | hone tokenizer decode tok\n  echo hello | hone tokenizer encode tok --json | hone tokenizer decode tok",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := loadTokenizer(args[0])
			if err != nil {
				return err
			}
			text, err := cli.ReadAll(cmd.Context(), a.In, longestText)
			if err != nil {
				return fmt.Errorf("read stdin: %w", err)
			}
			var result struct{ IDs json.RawMessage } // of encode --json
			if json.Unmarshal(text, &result) == nil && result.IDs != nil {
				text = result.IDs
			}
			var ids []int32
			if err := json.Unmarshal(text, &ids); err != nil {
				return fmt.Errorf("stdin is not a JSON list of ids such as [1, 2]: %w", cli.JSONError(err))
			}
			if bytes.Contains(text, []byte("null")) { // which encoding/json takes for the id 0
				return errors.New("stdin is not a JSON list of ids such as [1, 2]: there is a null")
			}
			for _, id := range ids {
				if id < 0 || int(id) >= t.VocabSize() {
					return fmt.Errorf("id %d is no token of the tokenizer, which has 0 to %d", id, t.VocabSize()-1)
				}
			}
			if text = t.Decode(ids); skip {
				text = t.DecodePlain(ids)
			}
			return a.Result(map[string]any{"text": string(text)}, func(w io.Writer) { _, _ = w.Write(text) })
		},
	}
	cmd.Flags().BoolVar(&skip, "skip-special", false, "leave special tokens out")
	return cmd
}
