package lm

import (
	"cmp"
	"errors"
	"fmt"

	"hone/data"
	"hone/recipe"
	"hone/recipe/config"
	"hone/tokenizer"
)

// Pretrain is the recipe of training on raw text. DefaultPretrain gives the defaults;
// data and out have none.
type Pretrain struct {
	Data               []string `yaml:"data" doc:"files, folders or globs of text, source code, .jsonl or .parquet, each also .gz or .zst"`
	ValidationData     []string `yaml:"validation_data" doc:"the same, to be held out; not set: a share of the documents of data"`
	ValidationFraction float64  `yaml:"validation_fraction" doc:"share of the documents of data to hold out when validation_data is not set; 0: none"`
	TextField          string   `yaml:"text_field" doc:"JSON key or Parquet column that holds the text"`
	OnBadRecord        string   `yaml:"on_bad_record" doc:"at a malformed record: error, or skip and count it"`

	Model     Model     `yaml:"model" doc:"folder of a model to go on from; not set: a new model of the keys below"`
	Tokenizer Tokenizer `yaml:"tokenizer" doc:"tokenizer.json or a folder with one, as tokenizer.path"`

	recipe.Training
}

// DefaultPretrain returns the recipe with every default filled in.
func DefaultPretrain() Pretrain {
	return Pretrain{
		ValidationFraction: data.DefaultValidationFraction, TextField: "text", OnBadRecord: "error",
		Tokenizer: Tokenizer{VocabSize: 4096, Pattern: tokenizer.PatternGPT2},
		Training:  recipe.DefaultTraining(),
	}
}

// Validate reports the first key that cannot be meant, and the remedy.
func (c *Pretrain) Validate() error {
	return cmp.Or(c.validateInput(), c.ApartFrom("data", c.Data), c.Training.ValidateTraining(c.heldOut()),
		c.Model.validate(c.SequenceLength), c.validateMethod())
}

func (c *Pretrain) heldOut() bool { return len(c.ValidationData) > 0 || c.ValidationFraction > 0 }

// validateMethod refuses methods that a new model has nothing for.
func (c *Pretrain) validateMethod() error {
	if c.Model.Dir == "" && c.Method != "full" {
		return fmt.Errorf("method is %s, which trains beside a finished model; name one by model=DIR", c.Method)
	}
	return nil
}

func (c *Pretrain) validateInput() error {
	if len(c.Data) == 0 {
		return errors.New("data is not set; name files, folders or globs of text, as in data=book.txt")
	}
	if !(c.ValidationFraction >= 0 && c.ValidationFraction < 1) {
		return fmt.Errorf("validation_fraction is %v; it must be at least 0 and below 1", c.ValidationFraction)
	}
	if r := data.BadRecord(c.OnBadRecord); r != data.FailOnBadRecord && r != data.SkipBadRecord {
		return fmt.Errorf("on_bad_record is %q; use error or skip", c.OnBadRecord)
	}
	if c.TextField == "" {
		return errors.New("text_field is empty; name the JSON key or Parquet column of the text")
	}
	if c.Tokenizer.Path != "" || c.Model.Dir != "" {
		return nil
	}
	t := tokenizer.TrainConfig{VocabSize: c.Tokenizer.VocabSize, Pattern: c.Tokenizer.Pattern, SpecialTokens: []string{endOfText}}
	if err := t.Validate(); err != nil {
		return fmt.Errorf("tokenizer.%w", err)
	}
	return nil
}

// endOfText is the special token of tokenizers trained here; it stands after every document.
const endOfText = "<|endoftext|>"

// Tokenizer says where the tokenizer comes from.
type Tokenizer struct {
	Path      string `yaml:"path" doc:"tokenizer.json or a folder with one; not set: that of the model folder, else one is trained on the data"`
	VocabSize int    `yaml:"vocab_size" doc:"tokens of a tokenizer to be trained, the 256 bytes and the special tokens included"`
	Pattern   string `yaml:"pattern" doc:"how a tokenizer to be trained cuts text into words: gpt2 or llama3"`
}

// SetShort reads "tokenizer: PATH".
func (t *Tokenizer) SetShort(s string) { t.Path = s }

// Short is empty: the group is always written key by key.
func (t *Tokenizer) Short() string { return "" }

// Models points at the keys that name folders of models and are set, so that a caller may put in their place
// the folders that shorter names stand for.
func (c *Pretrain) Models() []*string { return config.Given(&c.Model.Dir) }

// Unused adds to Training.Unused the keys of the tokenizer, which is not always trained, and those of evaluations.
func (c *Pretrain) Unused(key string) string {
	if with := recipe.UnusedEval(key, c.heldOut()); with != "" {
		return with
	}
	switch {
	case key != "tokenizer.vocab_size" && key != "tokenizer.pattern":
	case c.Tokenizer.Path != "":
		return "tokenizer.path=" + c.Tokenizer.Path
	case c.Model.Dir != "":
		return "model=" + c.Model.Dir
	}
	return c.Training.Unused(key)
}
