package training

import (
	"bytes"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/recipe/config"
	"hone/recipe/curation"
)

// TestUnusedKeys: keys that change nothing beside others are said, and the same keys are not where they count.
func TestUnusedKeys(t *testing.T) {
	for _, c := range []struct{ args, curate, check string }{
		{"", "", ""},
		{"length.min_chars=3", "length.min_chars has no effect with filters, which lack length", "length.min_chars has no effect with checks, which lack length"},
		{"filters=mend,length length.min_chars=3", "", ""},
		{"filters=mend dedup=exact near.threshold=0.9 substring.length=99", "near.threshold has no effect with dedup, which lacks near|substring.length has no effect with dedup, which lacks substring", ""},
		{"dedup=minhash,substring near.threshold=0.9 substring.length=99", "", ""},
		{"checks=format,length length.min_chars=3 near.threshold=0.9", "", ""},
		{"dedup=exact near.threshold=0.9", "near.threshold has no effect with dedup, which lacks near", "near.threshold has no effect with dedup, which lacks near"},
	} {
		curate, check := curation.DefaultCurate(), curation.DefaultCheck()
		usual, usually := curation.DefaultCurate(), curation.DefaultCheck()
		if config.Override(&curate, strings.Fields(c.args)) == nil { // checks are no key of it
			if got := noted(&curate, &usual); got != c.curate {
				t.Errorf("hone data curate %s: %s, want %s", c.args, got, c.curate)
			}
		}
		if config.Override(&check, strings.Fields(c.args)) == nil {
			if got := noted(&check, &usually); got != c.check {
				t.Errorf("hone data check %s: %s, want %s", c.args, got, c.check)
			}
		}
	}
	for _, c := range []struct{ stage, args, want string }{
		{"sft", "lora.r=4 qlora.bits=8 prompt.num_virtual_tokens=3", "lora.r has no effect with method=full|prompt.num_virtual_tokens has no effect with method=full|qlora.bits has no effect with method=full"},
		{"sft", "method=qlora lora.r=4 qlora.bits=8", ""},
		{"sft", "method=prefix prompt.num_virtual_tokens=3 prompt.encoder_hidden_size=8", "prompt.encoder_hidden_size has no effect with method=prefix"},
		{"sft", "method=prefix prompt.projection=true prompt.encoder_hidden_size=8", ""},
		{"sft", "method=ptuning prompt.init=text prompt.init_text=x", "prompt.init has no effect with method=ptuning|prompt.init_text has no effect with method=ptuning"},
		{"sft", "epochs=2", ""},
		{"sft", "epochs=2 steps=10", "epochs has no effect with steps=10"},
		{"sft", "data=a data_weights=1", "data_weights has no effect with a single entry of data"},
		{"sft", "data=a,b data_weights=1,2", ""},
		{"sft", "validation_data=v validation_fraction=0.2", "validation_fraction has no effect with validation_data"},
		{"pretrain", "schedule.decay_steps=5 schedule.min_lr_ratio=0.1", "schedule.decay_steps has no effect with schedule.name=constant|schedule.min_lr_ratio has no effect with schedule.name=constant"},
		{"pretrain", "schedule.name=inverse_sqrt schedule.min_lr_ratio=0.1", ""},
		{"pretrain", "schedule.name=wsd schedule.decay_steps=5", ""},
		{"pretrain", "optimizer.max_skips=2 samples.max_tokens=3 early_stopping.patience=9", "early_stopping.patience has no effect with early_stopping.metric not set|optimizer.max_skips has no effect with optimizer.on_nonfinite=stop|samples.max_tokens has no effect with samples.every=0"},
		{"pretrain", "optimizer.on_nonfinite=skip optimizer.max_skips=2 samples.every=5 samples.max_tokens=3 early_stopping.metric=loss early_stopping.patience=9", ""},
		{"pretrain", "memory=1GiB recompute=layers", "recompute has no effect with memory=1GiB"},
		{"pretrain", "memory=1GiB recompute=4", ""},
		{"pretrain", "recompute=layers", ""},
		{"pretrain", "tokenizer.path=tok tokenizer.vocab_size=999", "tokenizer.vocab_size has no effect with tokenizer.path=tok"},
		{"reward", "epochs=3 steps=4", "epochs has no effect with steps=4"},
		{"dpo", "simpo_gamma=1 desirable_weight=2", "desirable_weight has no effect with loss_type=sigmoid|simpo_gamma has no effect with loss_type=sigmoid"},
		{"dpo", "loss_type=kto desirable_weight=2", ""},
		{"dpo", "loss_type=simpo simpo_gamma=1", ""},
		{"ppo", "kl_horizon=5 ptx.coef=2 reward=gofmt reward_timeout=3", "kl_horizon has no effect with kl_target=0|ptx.coef has no effect with ptx.data not set|reward_timeout has no effect with a reward that is no program"},
		{"ppo", "kl_target=1 kl_horizon=5 ptx.data=x ptx.coef=2 reward=program:true reward_timeout=3", ""},
		{"grpo", "kl_estimator=k1 iterations=3 steps=9 diagnosis.on=off diagnosis.max_kl=3", "diagnosis.max_kl has no effect with diagnosis.on=off|iterations has no effect with steps=9|kl_estimator has no effect with beta=0"},
		{"grpo", "beta=0.1 kl_estimator=k1 iterations=3 diagnosis.max_kl=3", ""},
		{"pretrain", "validation_fraction=0 eval.every=5 eval.on_start=true", "eval.every has no effect with nothing held out|eval.on_start has no effect with nothing held out"},
		{"pretrain", "validation_fraction=0 validation_data=v eval.every=5", ""},
		{"sft", "validation_fraction=0 eval.every=5", "eval.every has no effect with nothing held out"},
		{"sft", "validation_fraction=0 forgetting.data=x eval.every=5", ""},
		{"sft", "validation_fraction=0 replay.self=true eval.every=5", ""},
		{"dpo", "validation_fraction=0 eval.max_tokens=5", "eval.max_tokens has no effect with nothing held out"},
		{"reward", "eval.max_tokens=5 eval.every=5", ""},
		{"ppo", "eval.on_start=true", "eval.on_start has no effect with nothing held out"},
		{"grpo", "validation_prompts=v eval.on_start=true eval.max_tokens=5", "eval.max_tokens has no effect with validation_prompts, all of which are answered"},
	} {
		stage := stages()[c.stage]
		r, _ := stage.defaults()
		if err := config.Load(r, "", strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		defaults, _ := stage.defaults()
		if got := noted(r, defaults); got != c.want {
			t.Errorf("hone %s %s:\ngot  %s\nwant %s", c.stage, c.args, got, c.want)
		}
	}
}

// noted are the notes of a recipe's keys, with bars between them.
func noted(c, defaults interface{ Unused(key string) string }) string {
	var out bytes.Buffer
	(&cli.App{Err: &out}).NoteUnused(c, defaults)
	return strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(out.String(), "note: "), "\n"), "\nnote: ", "|")
}
