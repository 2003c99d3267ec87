package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/data/curate"
	"hone/eval"
	"hone/plan"
	"hone/recipe"
	"hone/recipe/cluster"
	"hone/serve/label"
)

// TestKeysOfResults: scripts of users read the objects that --json prints. A key that is renamed or gone breaks them, so it must be done here, too,
// and on purpose.
func TestKeysOfResults(t *testing.T) {
	for _, c := range []struct {
		command string
		of      any
		want    string
	}{
		{"pretrain, sft, reward, dpo, ppo, grpo", recipe.Summary{}, "out model steps interrupted stopped_early stop_reason metrics best_step skipped_steps parameters trainable_parameters tokens seconds setup_seconds " +
			"tokens_per_s train_loss validation validation_step validation_last unigram_loss bigram_loss bytes_per_token peak_memory_bytes vocab_size validation_before planned_memory_bytes step_seconds planned_step_seconds"},
		{"--dry-run", recipe.Planned{}, "stage weights_bytes gradients_bytes optimizer_bytes paged_bytes offloaded_bytes activations_bytes logits_bytes peak_bytes own_bytes recompute_layers flops kv_cache_bytes steps tokens " +
			"step_seconds seconds rollout_seconds notes"},
		{"plan", cluster.Estimated{}, "model stage method parameters trainable_parameters tokens sequence_length batch_size flops_per_token gpu gpus zero tensor_parallel recompute offload least_tokens_per_step memory fits lower " +
			"flops mfu tflops_per_gpu gpu_hours hours energy_kwh cost_usd training_hours scoring_hours rollout_hours usd_per_gpu_hour price cheapest_offer advice"},
		{"plan, memory", plan.PerGPU{}, "weights_bytes reference_bytes reward_bytes critic_bytes gradients_bytes optimizer_bytes activations_bytes logits_bytes gathered_bytes reserved_bytes workspace_bytes peak_bytes host_bytes " +
			"kv_cache_bytes gpu_memory_bytes"},
		{"plan, gpu", plan.GPU{}, "name peak_tflops memory_gb bandwidth_gb_s watts default_mfu default_mfu_of_clusters"},
		{"plan, price", plan.Price{}, "provider machine gpu gpus usd_per_hour spot_usd_per_hour date source"},
		{"plan, advice", plan.Advice{}, "tokens_per_parameter compute_optimal_tokens same_compute_parameters same_compute_parameters_tokens"},
		{"eval", eval.Result{}, "loss perplexity bits_per_byte tokens bytes documents sequence_length stride"},
		{"generate", generated{}, "prompt text tokens finish"},
		{"chat", spoken{}, "role content tokens finish"},
		{"logits", logitsResult{}, "out shape loss labels tensors"},
		{"merge", merged{}, "model dtype kl tokens"},
		{"export", exported{}, "out types bytes kl max_logit tokens notes seconds"},
		{"import", imported{}, "model model_type parameters tokens seconds"},
		{"inspect", inspection{}, "path kind about tensors parameters bytes types load_f32 load_bf16"},
		{"inspect, tensors", tensorLine{}, "name dtype shape bytes"},
		{"label", label.Progress{}, "done ready waiting left_out agreement"},
		{"label, agreement", label.Agreement{}, "annotators shared percent alpha has_alpha"},
		{"label export", label.Exported{}, "written left_out"},
		{"data curate, data check", curate.Result{}, "read steps exact_duplicates near_duplicates duplicate_ids cuts kept searched notes examples scores labels clusters"},
		{"doctor", diagnosis{}, "system cores device kernels instructions caches memory_bytes f32_gflops bf16_gflops bf16_dots_gflops read_gb_per_s copy_gb_per_s update_gb_per_s few_rows_f32 few_rows_bf16 call_us nf4_gb_per_s corpus cuda"},
	} {
		if got := strings.Join(jsonKeys(reflect.TypeOf(c.of)), " "); got != c.want {
			t.Errorf("hone %s --json has the keys\n%s\nwant\n%s", c.command, got, c.want)
		}
	}
}

// jsonKeys are the keys of a struct, those of embedded ones among them.
func jsonKeys(s reflect.Type) (keys []string) {
	for i := range s.NumField() {
		f := s.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			keys = append(keys, jsonKeys(f.Type)...)
		case f.IsExported() && name != "-":
			keys = append(keys, name)
		}
	}
	return keys
}

// TestEvalObject: of a model that is far off the perplexity is infinite, for which JSON has no word.
func TestEvalObject(t *testing.T) {
	for loss, want := range map[float64]string{1: `"perplexity":2.718281828459045`, 710: `"perplexity":null`} {
		var out bytes.Buffer
		err := (&cli.App{Out: &out, JSON: true}).Result(finite(eval.Result{Loss: loss, Perplexity: math.Exp(loss), Tokens: 7}), nil)
		if err != nil || strings.Count(out.String(), `"perplexity"`) != 1 || !strings.Contains(out.String(), want) || !strings.Contains(out.String(), `"tokens":7`) {
			t.Errorf("of a loss of %v: %s, %v", loss, out.String(), err)
		}
	}
}

// TestInspectedValues: long lists are told by their number, control characters do nothing, and what is no object says so.
func TestInspectedValues(t *testing.T) {
	long := make([]int32, 9)
	for want, v := range map[string]any{"[1 2]": []int32{1, 2}, "9 of int32": long, "[a b]": []string{"a", "b"}, "[1.5]": []float32{1.5}, "x": "x", "[0 0 0 0 0 0 0 0]": long[:8]} {
		if got := brief(v); fmt.Sprint(got) != want {
			t.Errorf("%v is shown as %v, want %s", v, got, want)
		}
	}
	r := &inspection{About: map[string]any{}, Types: map[string]int{}}
	for text, want := range map[string]string{"[1]": "this is no JSON object of keys and values", "{": "this is no JSON, or cut short"} {
		if err := r.config([]byte(text), "a"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := r.config([]byte(`{"b": 2, "a": "x\u001b[31m\ny", "c": null, "e": {"type": "linear", "factor": 4.0}}`), "a", "b", "c", "d", "e"); err != nil || strings.Join(r.order, "") != "abe" {
		t.Errorf("the keys are %q, %v", r.order, err)
	}
	r.add(tensorLine{"w", "F32", []int{10, 3}, 120}, 30)
	r.add(tensorLine{"norm", "F32", []int{3}, 12}, 3)
	if r.Parameters != 33 || r.Bytes != 132 || r.LoadF32 != 132 || r.LoadBF16 != 72 || r.Types["F32"] != 33 { // vectors stay f32
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	r.print(&out)
	for _, want := range []string{"a  x[31m\\ny\n", "e  {\"factor\":4,\"type\":\"linear\"}\n", "tensors         2\n", "parameters      33\n", "  F32           33 parameters\n", "norm    F32   [3]     12\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	dir := t.TempDir()
	for name, want := range map[string]bool{"a.gguf": true, "magic": true, "short": false, "none": false, "a.safetensors": false} {
		path := filepath.Join(dir, name)
		text := map[string]string{"magic": "GGUF....", "short": "GG", "a.safetensors": "12345678{}"}[name]
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if isGGUF(path) != want {
			t.Errorf("%s is GGUF: %v", name, !want)
		}
	}
}
