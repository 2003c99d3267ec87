package preference

import (
	"cmp"
	"errors"
	"fmt"

	"hone/recipe"
	"hone/recipe/config"
)

// Preferences holds the keys of recipes that learn from preferences.
type Preferences struct {
	Data               []string `yaml:"data" doc:"files, folders or globs of preferences: prompt, chosen and rejected, texts or messages, or whole transcripts; with loss_type=kto of hone dpo also prompt, completion and label"`
	ValidationData     []string `yaml:"validation_data" doc:"the same, to be held out; not set: a share of data"`
	ValidationFraction float64  `yaml:"validation_fraction" doc:"share of the records to hold out when validation_data is not set, all of a prompt or none; 0: none"`
	OnBadRecord        string   `yaml:"on_bad_record" doc:"at a record that cannot be used, such as equal answers: error, or skip and count it"`
	Model              string   `yaml:"model" doc:"folder of the model to start from"`
	ChatTemplate       string   `yaml:"chat_template" doc:"a template's name or file; not set: the model's own"`
	TooLong            string   `yaml:"too_long" doc:"records over sequence_length: drop, cut the end of answers, or error; a prompt that leaves no room for an answer is always left out"`
	Epochs             float64  `yaml:"epochs" doc:"times that each record is seen; counts when steps is 0"`
}

func defaultPreferences() Preferences {
	return Preferences{ValidationFraction: 0.05, OnBadRecord: "error", TooLong: "drop", Epochs: 1}
}

func (p *Preferences) heldOut() bool { return len(p.ValidationData) > 0 || p.ValidationFraction > 0 }

// validate checks the group and the keys that go with it; steps may be 0, when epochs count.
func (p *Preferences) validate(t recipe.Training) error {
	switch {
	case len(p.Data) == 0:
		return errors.New("data is not set; name files of preferences, as in data=preferences.jsonl")
	case p.Model == "":
		return errors.New("model is not set; name the folder of the model to start from, as in model=runs/tuned/model")
	case !(p.ValidationFraction >= 0 && p.ValidationFraction < 1):
		return fmt.Errorf("validation_fraction is %v; it must be at least 0 and below 1", p.ValidationFraction)
	case t.Steps == 0 && !(p.Epochs > 0 && p.Epochs <= recipe.MaxEpochs):
		return fmt.Errorf("epochs is %v; set it above 0 and up to %v, or set steps", p.Epochs, recipe.MaxEpochs)
	case p.OnBadRecord != "error" && p.OnBadRecord != "skip":
		return fmt.Errorf("on_bad_record is %q; use error or skip", p.OnBadRecord)
	case p.TooLong != "cut" && p.TooLong != "drop" && p.TooLong != "error":
		return fmt.Errorf("too_long is %q; use cut, drop or error", p.TooLong)
	case t.ZLoss != 0:
		return errors.New("z_loss is set, which learning from preferences does not have; leave it out")
	case t.NEFTuneNoiseAlpha != 0:
		return errors.New("neftune_noise_alpha is set, which learning from preferences does not have; leave it out")
	}
	if t.Steps == 0 {
		t.Steps = 1 // known when the records are counted
	}
	return cmp.Or(t.ApartFrom("data", p.Data), t.ValidateTraining(p.heldOut()))
}

// Models points at the keys that name folders of models, as (*lm.Pretrain).Models does.
func (c *Preferences) Models() []*string { return config.Given(&c.Model) }

// unused adds to Training.Unused the keys that reward and dpo share.
func (p *Preferences) unused(key string, t *recipe.Training) string {
	if with := recipe.UnusedEval(key, p.heldOut()); with != "" {
		return with
	}
	switch {
	case key == "validation_fraction" && len(p.ValidationData) > 0:
		return "validation_data"
	case key == "epochs":
		return t.UnusedEpochs()
	}
	return t.Unused(key)
}
