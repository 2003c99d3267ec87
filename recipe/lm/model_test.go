package lm

import (
	"strings"
	"testing"

	"hone/recipe/config"
)

// TestValidate has one line for each thing that can be wrong.
func TestValidate(t *testing.T) {
	good := []string{"data=a.txt", "out=x"}
	c := DefaultPretrain()
	if err := config.Override(&c, good); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	for _, e := range []struct{ args, want string }{
		{"data=", "data is not set"},
		{"out=", "out is not set"},
		{"steps=-1", "steps is -1"},
		{"batch_size=0", "batch_size is 0"},
		{"sequence_length=1", "sequence_length is 1"},
		{"gradient_accumulation_steps=0", "gradient_accumulation_steps is 0"},
		{"dropout=1", "dropout is 1"},
		{"z_loss=-1", "z_loss"},
		{"label_smoothing=1", "label_smoothing"},
		{"validation_fraction=1", "validation_fraction is 1"},
		{"on_bad_record=ignore", "on_bad_record"},
		{"text_field=", "text_field"},
		{"tokenizer.vocab_size=100", "vocab_size 100 is too small"},
		{"tokenizer.pattern=gpt9", "tokenizer"},
		{"method=lora", "method is"},
		{"device=tpu", "device is"},
		{"dtype=f16", "dtype is"},
		{"dtype=i32", "dtype is"},
		{"save_dtype=u8", "save_dtype is"},
		{"shard_size=5XB", `shard_size: size "5XB" is unknown`},
		{"threads=-1", "threads is -1"},
		{"recompute=some", "recompute is"},
		{"recompute=-2", "recompute is"},
		{"activation_offloading=true recompute=layers", "device is cpu"},
		{"activation_offloading=true device=cuda", "recompute is none"},
		{"model.model_type=rnn", "model.model_type is"},
		{"model.hidden_size=100 model.num_attention_heads=3", "not a multiple of model.num_attention_heads"},
		{"model.hidden_size=-4", "model.hidden_size is -4"},
		{"model.hidden_size=12 model.num_attention_heads=4", "even"},
		{"model.num_key_value_heads=3", "model.num_key_value_heads"},
		{"model.max_position_embeddings=16", "sequence_length is 256 but model.max_position_embeddings is only 16"},
		{"model.n_embd=16", "model.n_embd is a key of gpt2 models"},
		{"model.model_type=gpt2 model.rope_theta=5", "model.rope_theta is a key of llama models"},
		{"model.model_type=gpt2 model.n_embd=10 model.n_head=3", "model.n_embd is 10"},
		{"model=dir model.hidden_size=5", "leave one of the two out"},
		{"model.rms_norm_eps=0", "model.rms_norm_eps is 0"},
		{"optimizer.name=sgd", "optimizer.name"},
		{"optimizer.learning_rate=0", "optimizer.learning_rate"},
		{"optimizer.beta1=1", "optimizer.beta1"},
		{"optimizer.beta2=-1", "optimizer.beta2"},
		{"optimizer.eps=0", "optimizer.eps"},
		{"optimizer.weight_decay=-1", "optimizer.weight_decay"},
		{"optimizer.max_grad_norm=-1", "optimizer.max_grad_norm"},
		{"optimizer.on_nonfinite=hope", "optimizer.on_nonfinite"},
		{"optimizer.max_skips=-1", "optimizer.max_skips"},
		{"schedule.name=cosin", "schedule.name is"},
		{"schedule.warmup_steps=-1", "schedule.warmup_steps is -1"},
		{"eval.every=-1", "eval.every"},
		{"eval.max_tokens=-1", "eval.max_tokens"},
		{"early_stopping.mode=up", "early_stopping.mode"},
		{"early_stopping.patience=0", "early_stopping.patience"},
		{"early_stopping.metric=loss validation_fraction=0", "early_stopping.metric needs evaluations"},
		{"checkpoint.keep_best=true validation_fraction=0", "checkpoint.keep_best needs"},
		{"checkpoint.every=-1", "checkpoint.every"},
		{"checkpoint.seconds=-1", "checkpoint.seconds"},
		{"checkpoint.keep_last=-1", "checkpoint.keep_last"},
		{"samples.every=-1", "samples.every"},
		{"samples.max_tokens=0", "samples.max_tokens"},
		{"samples.temperature=-1", "samples.temperature"},
	} {
		c := DefaultPretrain()
		if err := config.Override(&c, good); err != nil {
			t.Fatal(err)
		}
		if err := config.Override(&c, strings.Fields(e.args)); err != nil {
			t.Fatalf("%s: %v", e.args, err)
		}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error %v, want %q", e.args, err, e.want)
		}
	}
}

func TestNewConfig(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", `{"model_type":"llama","vocab_size":300,"hidden_size":256,"intermediate_size":704,"num_hidden_layers":4,"num_attention_heads":4,"max_position_embeddings":32}`},
		{"model.hidden_size=64 model.vocab_size=512", `{"model_type":"llama","vocab_size":512,"hidden_size":64,"intermediate_size":192,"num_hidden_layers":4,"num_attention_heads":1,"max_position_embeddings":32}`},
		{"model.model_type=gpt2 model.hidden_size=128 model.num_hidden_layers=2", `{"model_type":"gpt2","vocab_size":300,"n_embd":128,"n_layer":2,"n_head":2,"n_positions":32}`},
	} {
		p := DefaultPretrain()
		if err := config.Override(&p, strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		got, err := p.Model.NewConfig(300, 32)
		if text := strings.NewReplacer("\n", "", " ", "").Replace(string(got)); err != nil || text != c.want {
			t.Errorf("%s: %s, %v; want %s", c.args, text, err, c.want)
		}
	}
	m := Model{VocabSize: new(int)}
	*m.VocabSize = 10
	if _, err := m.NewConfig(300, 32); err == nil || !strings.Contains(err.Error(), "model.vocab_size is 10") {
		t.Errorf("a vocabulary that is too small: %v", err)
	}
}
