package recipe

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hone/adapter"
	"hone/recipe/config"
)

// sound is a recipe that can be run.
func sound() Training {
	c := DefaultTraining()
	c.Out = "runs/x"
	return c
}

// TestTrainingIsValidated: each key at its bounds, and past them with an error of one line that names it.
func TestTrainingIsValidated(t *testing.T) {
	for _, fine := range []string{
		"steps=1", "steps=1099511627776", "gradient_accumulation_steps=16777216", "threads=4096", "eval.max_tokens=0", "samples.max_tokens=1", "method=prompt prompt.num_virtual_tokens=1", "batch_size=1", "batch_size=16777216", "sequence_length=2", "gradient_accumulation_steps=1", "dropout=0", "dropout=0.99", "z_loss=0", "label_smoothing=0.99", "dtype=bf16", "save_dtype=f32",
		"device=cuda:3", "threads=0", "recompute=0", "recompute=layers", "recompute=99", "memory=1B", "memory=6GiB", "shard_size=2GB", "method=lora", "method=qlora qlora.bits=8", "method=prompt",
		"method=prefix prompt.projection=true", "method=ptuning prompt.encoder_hidden_size=7", "method=prompt prompt.init=text prompt.init_text=x", "optimizer.beta1=0", "optimizer.weight_decay=0",
		"optimizer.max_grad_norm=0", "optimizer.on_nonfinite=skip optimizer.max_skips=0", "schedule.name=wsd", "eval.every=0", "early_stopping.metric=loss", "checkpoint.keep_best=true",
		"checkpoint.every=0 checkpoint.seconds=0 checkpoint.keep_last=0", "samples.every=0", "samples.temperature=0", "device=cuda activation_offloading=true recompute=layers",
	} {
		c := sound()
		if err := config.Override(&c, strings.Fields(fine)); err != nil {
			t.Fatal(fine, err)
		}
		if err := c.ValidateTraining(true); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
	for keys, want := range map[string]string{
		"out=": "out is not set", "steps=0": "steps is 0", "batch_size=0": "batch_size is 0", "batch_size=16777217": "batch_size is 16777217", "sequence_length=1": "sequence_length is 1",
		"gradient_accumulation_steps=0": "gradient_accumulation_steps is 0", "dropout=1": "dropout is 1", "dropout=-0.1": "dropout is -0.1", "z_loss=-1": "z_loss is -1", "neftune_noise_alpha=-1": "neftune_noise_alpha is -1",
		"label_smoothing=1": "label_smoothing is 1", "device=tpu": "tpu", "dtype=f16": "use f32 or bf16", "save_dtype=i32": `save_dtype is "i32"`, "shard_size=big": "shard_size: ", "threads=-1": "threads is -1", "threads=4097": "at most 4096", "steps=2000000000000": "at most 1099511627776",
		"recompute=-1": `recompute is "-1"`, "recompute=some": `recompute is "some"`, "memory=6Gib": `memory is "6Gib"`, "method=ia3": `method is "ia3"; use full, lora`, "method=lora lora.r=0": "lora.",
		"method=lora lora.init_lora_weights=zero": "lora.init_lora_weights", "method=lora lora.loraplus_lr_ratio=-1": "lora.loraplus_lr_ratio is -1", "method=qlora qlora.bits=3": "qlora.bits is 3",
		"method=prompt prompt.num_virtual_tokens=0": "prompt.num_virtual_tokens is 0", "method=prompt prompt.init=text": "set both or neither", "method=prompt prompt.init_text=x": "set both or neither",
		"method=prompt prompt.init=zero": `prompt.init is "zero"`, "method=prefix prompt.encoder_hidden_size=-1": "prompt.encoder_hidden_size is -1", "optimizer.name=sgd": `optimizer.name is "sgd"`,
		"optimizer.learning_rate=0": "optimizer.learning_rate is 0", "optimizer.learning_rate=1e39": "optimizer.learning_rate is 1e+39; it must be above 0 and at most 3.4e+38", "optimizer.beta1=1": "optimizer.beta1 is 1", "optimizer.beta2=1": "optimizer.beta2 is 1", "optimizer.eps=0": "optimizer.eps is 0",
		"optimizer.weight_decay=-1": "optimizer.weight_decay is -1", "optimizer.max_grad_norm=-1": "optimizer.max_grad_norm is -1", "optimizer.on_nonfinite=warn": `optimizer.on_nonfinite is "warn"`,
		"optimizer.max_skips=-1": "optimizer.max_skips is -1", "schedule.name=step": "schedule.", "eval.every=-1": "eval.every is -1", "eval.max_tokens=-1": "eval.max_tokens is -1",
		"early_stopping.mode=best": `early_stopping.mode is "best"`, "early_stopping.patience=0": "early_stopping.patience is 0", "early_stopping.min_delta=-1": "early_stopping.min_delta is -1",
		"early_stopping.metric=loss eval.every=0": "needs evaluations", "checkpoint.every=-1": "checkpoint.every is -1", "checkpoint.seconds=-1": "checkpoint.seconds is -1",
		"checkpoint.keep_last=-1": "checkpoint.keep_last is -1", "samples.every=-1": "samples.every is -1", "samples.max_tokens=0": "samples.max_tokens is 0", "samples.temperature=-1": "samples.temperature is -1",
		"activation_offloading=true": "device is cpu", "device=cuda activation_offloading=true": "set recompute=layers",
	} {
		c := sound()
		if err := config.Override(&c, strings.Fields(keys)); err != nil {
			t.Fatal(keys, err)
		}
		if err := c.ValidateTraining(true); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", keys, err, want)
		}
	}
	for _, keys := range []string{"early_stopping.metric=loss", "checkpoint.keep_best=true"} {
		c := sound()
		if err := config.Override(&c, []string{keys}); err != nil {
			t.Fatal(err)
		}
		if err := c.ValidateTraining(false); err == nil || !strings.Contains(err.Error(), "out") {
			t.Errorf("%s without data that is held out: %v", keys, err)
		}
	}
}

// TestLoRAConfig: what the keys say in PEFT's words; numbers are read whole.
func TestLoRAConfig(t *testing.T) {
	l := defaultLoRA()
	c, err := l.Config("base")
	if err != nil || c.BaseModel != "base" || c.R != 16 || c.LoraAlpha != 32 || c.InitLoraWeights != true || c.TargetModules.Pattern != adapter.AllLinear {
		t.Errorf("%+v, %v", c, err)
	}
	l.Alpha, l.TargetModules, l.ExcludeModules, l.Layers = 3, []string{"q_proj", "v_proj"}, []string{`.*\.0\..*`}, "0, 2"
	l.RankPattern, l.AlphaPattern, l.Init = []string{"q_proj:4", "a:b:8", "k:2"}, []string{"v_proj:0.5"}, "gaussian"
	c, err = l.Config("")
	if err != nil || c.LoraAlpha != 3 || !slices.Equal(c.TargetModules.Names, l.TargetModules) || c.ExcludeModules.Pattern != `.*\.0\..*` || !slices.Equal(c.LayersToTransform, []int{0, 2}) ||
		c.RankPattern["q_proj"] != 4 || c.RankPattern["a:b"] != 8 || c.RankPattern["k"] != 2 || c.AlphaPattern["v_proj"] != 0.5 || c.InitLoraWeights != "gaussian" {
		t.Errorf("%+v, %v", c, err)
	}
	for key, change := range map[string]func(*LoRA){
		"lora.layers":            func(l *LoRA) { l.Layers = "0,1x" },
		"lora.layers is ":        func(l *LoRA) { l.Layers = "-1" },
		"lora.layers is \"":      func(l *LoRA) { l.Layers = "1,,2" },
		"lora.rank_pattern":      func(l *LoRA) { l.RankPattern = []string{"q_proj:8.5"} },
		"lora.rank_pattern ":     func(l *LoRA) { l.RankPattern = []string{"q_proj"} },
		"lora.alpha_pattern":     func(l *LoRA) { l.AlphaPattern = []string{"v_proj:1e"} },
		"lora.alpha_pattern has": func(l *LoRA) { l.AlphaPattern = []string{":1"} },
	} {
		l := defaultLoRA()
		if change(&l); !refuses(l, key) {
			t.Errorf("%+v is accepted, or refused without %q", l, key)
		}
	}
}

func refuses(l LoRA, key string) bool {
	_, err := l.Config("")
	return err != nil && strings.Contains(err.Error(), key) && !strings.Contains(err.Error(), "\n")
}

// TestFallbackRates: where the recipe names no rate each method has its own, and one that is named stays.
func TestFallbackRates(t *testing.T) {
	for method, want := range map[string]float64{"full": 1e-5, "lora": 2e-4, "qlora": 2e-4, "prompt": 1e-2, "prefix": 1e-2, "ptuning": 1e-2} {
		c := sound()
		c.Method, c.Optimizer.LearningRate = method, 0
		if c.FallbackRate(1e-5, 2e-4); math.Abs(c.Optimizer.LearningRate-want) > 1e-12 {
			t.Errorf("%s learns at %v, want %v", method, c.Optimizer.LearningRate, want)
		}
		if c.FallbackRate(7, 7); math.Abs(c.Optimizer.LearningRate-want) > 1e-12 {
			t.Errorf("%s: a rate that is set becomes %v", method, c.Optimizer.LearningRate)
		}
	}
}

// TestFitIsTheFewestLayers: for every amount of memory the fewest layers are run again with which the
// run fits, by few measurements.
func TestFitIsTheFewestLayers(t *testing.T) {
	const layers = 13
	peak := func(again int) int64 { return 1000 - 40*int64(again) }
	for memory := peak(layers) - 5; memory < peak(0)+50; memory += 7 {
		c, measured := sound(), 0
		c.Memory = strconv.FormatInt(memory, 10)
		err := c.fit(nil, func() (int64, int, error) {
			measured++
			n, err := c.RecomputedLayers(layers)
			return peak(n), layers, err
		})
		want := -1
		for n := layers; n >= 0; n-- {
			if peak(n) <= memory {
				want = n
			}
		}
		switch {
		case want < 0:
			if err == nil || !strings.Contains(err.Error(), "even with every layer run again; use a smaller model or raise memory") {
				t.Errorf("%d bytes: %v", memory, err)
			}
		case err != nil || c.Recompute != strconv.Itoa(want) || measured > 7:
			t.Errorf("%d bytes: recompute=%s after %d measurements, %v; want %d", memory, c.Recompute, measured, err, want)
		}
	}
}

// TestWhatWouldFitIsTold: the changes that are enough, the one that changes least first, or else those that
// change most; the recipe is as it was after.
func TestWhatWouldFitIsTold(t *testing.T) {
	told := func(memory string, factors map[string]int64) (string, Training) {
		c := sound()
		c.Memory = memory
		other := 1
		changes := c.lower("")
		changes = append(changes, Change{Key: "other=2", Make: func() { other = 2 }, Undo: func() { other = 1 }})
		err := c.fit(changes, func() (int64, int, error) {
			p := int64(1000 << 20)
			if c.Optimizer.Name == "adamw8bit" {
				p -= factors["adamw8bit"] << 20
			}
			if c.Optimizer.Paged {
				p -= factors["paged"] << 20
			}
			return p*int64(c.BatchSize)/8/int64(other) + p/10, 0, nil
		})
		if err == nil || other != 1 {
			t.Fatalf("%v, other %d", err, other)
		}
		return err.Error(), c
	}
	text, c := told("700MiB", map[string]int64{"adamw8bit": 100, "paged": 500})
	if want := "what fits: batch_size=4 (600.0 MiB), other=2 (600.0 MiB), optimizer.paged=true (550.0 MiB), batch_size=2 (350.0 MiB), batch_size=1"; !strings.Contains(text, want) {
		t.Errorf("told %q, want %q", text, want)
	}
	if c.BatchSize != 8 || c.Optimizer.Name != "adamw" || c.Optimizer.Paged {
		t.Errorf("the recipe is changed: %+v", c)
	}
	text, _ = told("1MiB", map[string]int64{"adamw8bit": 100, "paged": 500})
	if !strings.Contains(text, "no single change is enough, the largest are: batch_size=1 (225.0 MiB), batch_size=2 (350.0 MiB), optimizer.paged=true (550.0 MiB)") {
		t.Errorf("told %q", text)
	}
	c.Memory = "1MiB"
	err := c.fit([]Change{{Key: "same=1", Make: func() {}}}, func() (int64, int, error) { return 2 << 20, 0, nil })
	if err == nil || !strings.HasSuffix(err.Error(), "even with every layer run again; use a smaller model or raise memory") {
		t.Errorf("a change that is of no use: %v", err)
	}
}

// TestApartFrom: a run in a folder of its data would read its own files.
func TestApartFrom(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(filepath.Join(data, "inner"), 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(data, "a.txt")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for out, refused := range map[string]bool{data: true, filepath.Join(data, "run"): true, filepath.Join(data, "inner", "run"): true, filepath.Join(data, "..", "data", "x"): true,
		dir: false, data + "2": false, filepath.Join(dir, "run"): false, "": false} {
		c := Training{Out: out}
		err := c.ApartFrom("data", []string{file, filepath.Join(dir, "missing"), data})
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "would read its own files as data") {
			t.Errorf("out %s: %v", out, err)
		}
	}
	missing := filepath.Join(dir, "missing")
	if err := (&Training{Out: filepath.Join(missing, "run")}).ApartFrom("data", []string{missing}); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
	c := Training{Out: filepath.Join(data, "run")}
	if err := c.ApartFrom("data", []string{file}); err != nil {
		t.Errorf("a file is no folder: %v", err)
	}
}

// TestWhatMayDifferOnResume: what changes updates may not; where a run ends, what it shows and
// what a method does not use may.
func TestWhatMayDifferOnResume(t *testing.T) {
	for method, free := range map[string][]string{
		"full":   {"steps", "out", "device", "threads", "recompute", "memory", "eval.every", "samples.prompts", "checkpoint.every", "early_stopping.metric", "optimizer.paged", "lora.r", "qlora.bits", "prompt.init"},
		"lora":   {"qlora.bits", "prompt.init"},
		"qlora":  {"prompt.init"},
		"prefix": {"lora.r", "qlora.bits"},
	} {
		bound := []string{"seed", "batch_size", "sequence_length", "gradient_accumulation_steps", "dropout", "dtype", "method", "optimizer.name", "optimizer.learning_rate", "schedule.name", "neftune_noise_alpha",
			map[string]string{"full": "seed", "lora": "lora.r", "qlora": "qlora.bits", "prefix": "prompt.num_virtual_tokens"}[method]}
		c := sound()
		c.Method = method
		may := func(key string) bool { return differsFreely(key) || c.Unused(key) != "" }
		for _, key := range free {
			if !may(key) {
				t.Errorf("method=%s: %s may not differ", method, key)
			}
		}
		for _, key := range bound {
			if may(key) {
				t.Errorf("method=%s: %s may differ", method, key)
			}
		}
	}
}

// TestUnusedWithASetting: a key is told with the setting beside which it changes nothing.
func TestUnusedWithASetting(t *testing.T) {
	for _, c := range []struct{ set, key, want string }{
		{"", "optimizer.max_skips", "optimizer.on_nonfinite=stop"}, {"optimizer.on_nonfinite=skip", "optimizer.max_skips", ""}, {"", "optimizer.beta1", ""},
		{"", "schedule.min_lr_ratio", "schedule.name=constant"}, {"schedule.name=inverse_sqrt", "schedule.min_lr_ratio", ""}, {"schedule.name=inverse_sqrt", "schedule.decay_steps", "schedule.name=inverse_sqrt"},
		{"", "schedule.warmup_steps", ""}, {"memory=1GiB recompute=layers", "recompute", "memory=1GiB"}, {"memory=1GiB recompute=3", "recompute", ""}, {"recompute=layers", "recompute", ""},
		{"method=ptuning", "prompt.encoder_hidden_size", ""}, {"method=prefix", "prompt.encoder_hidden_size", "method=prefix"}, {"method=prefix prompt.projection=true", "prompt.encoder_hidden_size", ""},
	} {
		r := sound()
		if err := config.Override(&r, strings.Fields(c.set)); err != nil {
			t.Fatal(err)
		}
		if got := r.Unused(c.key); got != c.want {
			t.Errorf("%s: %s is without effect with %q, want %q", c.set, c.key, got, c.want)
		}
	}
}
