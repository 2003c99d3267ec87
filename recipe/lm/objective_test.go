package lm

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/model"
	"hone/recipe/config"
	"hone/recipe/recipetest"
	"hone/train"
)

// sparseModel is a folder with a tiny mixtral that has the tokenizer of a run.
func sparseModel(t *testing.T, run string) string {
	t.Helper()
	m, err := model.New([]byte(`{"model_type":"mixtral","vocab_size":280,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,
		"num_key_value_heads":1,"num_local_experts":7,"num_experts_per_tok":2,"max_position_embeddings":64,"output_router_logits":true,"router_aux_loss_coef":0.05}`),
		devicetest.NewReference(), device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	dir := t.TempDir()
	if err := m.Save(dir, device.F32, model.Values); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), recipetest.Read(t, run, "model", "tokenizer.json"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestExperts trains a sparse model: its load-balancing loss is reported, 4 + 4 steps equal 8 in every byte,
// on other numbers of threads and with recomputed layers, and what is evaluated is the next token alone.
func TestExperts(t *testing.T) {
	text, dense, whole, parts := recipetest.TextFolder(t), t.TempDir(), t.TempDir(), t.TempDir()
	mustRun(t, tiny(t, text, dense, "steps=1"))
	dir := sparseModel(t, dense)
	sparse := func(out string, args ...string) *Pretrain {
		c := DefaultPretrain()
		if err := config.Override(&c, append([]string{"data=" + text, "out=" + out, "model=" + dir, "batch_size=2", "gradient_accumulation_steps=2", "sequence_length=32",
			"validation_fraction=0.1", "eval.max_tokens=500"}, args...)); err != nil {
			t.Fatal(err)
		}
		return &c
	}
	sum, events := mustRun(t, sparse(whole, "steps=8"))
	mustRun(t, sparse(parts, "steps=8", "checkpoint.every=4"))
	if err := os.RemoveAll(filepath.Join(parts, "checkpoints", "step-8")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(parts, "checkpoints", "step-4")); err != nil {
		t.Fatal(err)
	}
	mustRun(t, sparse(parts, "steps=8", "resume=true", "threads=3", "recompute=layers"))
	if !slices.Equal(recipetest.Read(t, whole, "model", "model.safetensors"), recipetest.Read(t, parts, "model", "model.safetensors")) {
		t.Error("a resumed run ends with other weights")
	}
	adapt := []string{"steps=1", "method=lora", "lora.target_modules=w1,w3"}
	for _, rsLoRA := range []bool{true, false} {
		_, events := mustRun(t, sparse(t.TempDir(), append(adapt, fmt.Sprint("lora.use_rslora=", rsLoRA))...))
		said := slices.ContainsFunc(events, func(e train.Event) bool {
			m, ok := e.(train.MessageEvent)
			return ok && strings.Contains(m.Text, "note: with rsLoRA on experts, PEFT")
		})
		if said != rsLoRA {
			t.Errorf("rsLoRA on experts %v: the run said so: %v", rsLoRA, said)
		}
	}
	for _, e := range events {
		s, ok := e.(train.StepEvent)
		if !ok {
			continue
		}
		balance := s.Metrics["router_aux_loss"]
		if balance < 2 || balance > 7 { // k with equal shares, E at most
			t.Errorf("step %d reports a load-balancing loss of %v", s.Step, balance)
		}
		if s.Step == 1 && math.Abs(s.Loss-0.05*balance-math.Log(280)) > 0.1 { // fresh weights know nothing
			t.Errorf("the first loss is %v with a load-balancing loss of %v in it", s.Loss, balance)
		}
	}
	if loss := sum.Validation["loss"]; math.Abs(math.Log(sum.Validation["perplexity"])-loss) > 1e-6 || loss > math.Log(280) {
		t.Errorf("the held-out loss is %v", loss)
	}
}
