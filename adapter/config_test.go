package adapter

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"hone/nn"
	"hone/tensor"
)

// TestModulesSelect: names by the ends of a module's name, at its points; a pattern whole names.
func TestModulesSelect(t *testing.T) {
	const q = "model.layers.3.self_attn.q_proj"
	for text, want := range map[string]bool{
		`["q_proj"]`: true, `["k_proj", "q_proj"]`: true, `["self_attn.q_proj"]`: true, `["` + q + `"]`: true, `["proj"]`: false, `["_proj"]`: false, `["layers.3"]`: false, `[]`: false, `null`: false,
		`"all-linear"`: true, `".*q_proj"`: true, `"q_proj"`: false, `"model\\.layers\\.[0-3]\\..*"`: true, `"model\\.layers\\.[4-9]\\..*"`: false, `"a|.*"`: true,
	} {
		m := Modules{Names: []string{"of before"}, Pattern: "of before"}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(text, err)
		}
		match, err := m.matcher()
		if err != nil || match(q) != want {
			t.Errorf("%s selects %s: %v, %v", text, q, !want, err)
		}
		back, err := json.Marshal(m)
		var again Modules
		if err != nil || json.Unmarshal(back, &again) != nil || !cmp.Equal(again, m) {
			t.Errorf("%s is written %s, %v", text, back, err)
		}
	}
	if _, err := (Modules{Pattern: "("}).matcher(); err == nil || !strings.Contains(err.Error(), `"(" is no regular expression of Go's`) {
		t.Errorf("a broken pattern: %v", err)
	}
	var m Modules
	if err := json.Unmarshal([]byte(`3`), &m); err == nil {
		t.Error("a number selects modules")
	}
}

// TestNumbers: layers_to_transform of PEFT is a list or a number.
func TestNumbers(t *testing.T) {
	for text, want := range map[string]Numbers{`[0, 2]`: {0, 2}, `1`: {1}, `0`: {0}, `null`: nil, `[]`: {}} {
		var c Config
		if err := json.Unmarshal([]byte(`{"layers_to_transform":`+text+`}`), &c); err != nil || !cmp.Equal(c.LayersToTransform, want) {
			t.Errorf("%s is read as %#v, %v", text, c.LayersToTransform, err)
		}
	}
	var n Numbers
	if json.Unmarshal([]byte(`"x"`), &n) == nil {
		t.Error("a text is read as numbers")
	}
}

// TestConfigIsValidated: each value past its bounds, by the name that the recipe and the file have for it.
func TestConfigIsValidated(t *testing.T) {
	sound := Default()
	for range 2 { // as it comes, and at every bound
		if err := sound.Validate(); err != nil {
			t.Fatal(err)
		}
		sound.R, sound.LoraDropout, sound.LoraAlpha, sound.RankPattern = 1, 0, -1, map[string]int{"q_proj": 1}
	}
	for want, change := range map[string]func(*Config){
		`peft_type is "IA3"; LORA, PROMPT_TUNING`:                                 func(c *Config) { c.PeftType = "IA3" },
		"r is 0; it must be at least 1":                                           func(c *Config) { c.R = 0 },
		"lora_dropout is 1; it must be at least 0 and below 1":                    func(c *Config) { c.LoraDropout = 1 },
		"lora_dropout is -0.1":                                                    func(c *Config) { c.LoraDropout = -0.1 },
		"lora_dropout is NaN":                                                     func(c *Config) { c.LoraDropout = math.NaN() },
		"lora_alpha is +Inf; it must be a number":                                 func(c *Config) { c.LoraAlpha = math.Inf(1) },
		`bias is "some"; use none, all or lora_only`:                              func(c *Config) { c.Bias = "some" },
		"target_modules is empty; name layers such as q_proj,v_proj":              func(c *Config) { c.TargetModules = Modules{} },
		"target_modules is a regular expression, beside which PEFT takes no":      func(c *Config) { c.TargetModules, c.LayersToTransform = Modules{Pattern: "x"}, []int{1} },
		"lora_bias is not supported; leave it false":                              func(c *Config) { c.LoraBias = true },
		`target_modules: "[" is no regular expression`:                            func(c *Config) { c.TargetModules = Modules{Pattern: "["} },
		`exclude_modules: "[" is no regular expression`:                           func(c *Config) { c.ExcludeModules = Modules{Pattern: "["} },
		`init_lora_weights is "pissa_niter_x"; write pissa_niter_N with a number`: func(c *Config) { c.InitLoraWeights = "pissa_niter_x" },
		`init_lora_weights is "pissa_niter_-1"`:                                   func(c *Config) { c.InitLoraWeights = "pissa_niter_-1" },
		"use_dora and init_lora_weights=pissa do not go together; leave one out":  func(c *Config) { c.InitLoraWeights, c.UseDoRA = "pissa", true },
		"lora_alpha is -1; with init_lora_weights=pissa it must be above 0":       func(c *Config) { c.InitLoraWeights, c.LoraAlpha = "pissa", -1 },
		"lora_alpha is 0; with init_lora_weights=pissa":                           func(c *Config) { c.InitLoraWeights, c.LoraAlpha = "pissa", 0 },
		"alpha_pattern of q_proj is 0; it must be a number, and above 0 with":     func(c *Config) { c.InitLoraWeights, c.AlphaPattern = "pissa", map[string]float64{"q_proj": 0} },
		"alpha_pattern of q_proj is NaN; it must be a number":                     func(c *Config) { c.AlphaPattern = map[string]float64{"q_proj": math.NaN()} },
		`alpha_pattern: "(?<!k)_proj" is no regular expression of Go's`:           func(c *Config) { c.AlphaPattern = map[string]float64{"(?<!k)_proj": 1} },
		`rank_pattern or alpha_pattern: "q(" is no regular`:                       func(c *Config) { c.RankPattern = map[string]int{"q(": 1} },
		"rank_pattern of q_proj is 0; it must be at least 1":                      func(c *Config) { c.RankPattern = map[string]int{"q_proj": 0} },
	} {
		c := Default()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, change := range map[string]func(*PromptConfig){
		`peft_type is "LORA2"; use LORA, PROMPT_TUNING, PREFIX_TUNING or P_TUNING`: func(c *PromptConfig) { c.PeftType = "LORA2" },
		"num_virtual_tokens is 0; it must be at least 1":                           func(c *PromptConfig) { c.NumVirtualTokens = 0 },
		"num_transformer_submodules is 2; a decoder has 1":                         func(c *PromptConfig) { c.Submodules = 2 },
		"encoder_hidden_size is -1; it must be at least 1, or 0":                   func(c *PromptConfig) { c.EncoderHiddenSize = -1 },
	} {
		c := PromptConfig{PeftType: PTuning, NumVirtualTokens: 1}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestRanksAndScales of a module: alpha/r, or alpha/sqrt(r), each perhaps the module's own.
func TestRanksAndScales(t *testing.T) {
	c := Default()
	c.R, c.LoraAlpha = 16, 32
	c.RankPattern, c.AlphaPattern = map[string]int{"q_proj": 4, `layers\.0\..*`: 8}, map[string]float64{"v_proj": 8}
	for _, want := range []struct {
		module        string
		r             int
		scale, rooted float64
	}{
		{"model.layers.1.k_proj", 16, 2, 8}, {"model.layers.1.q_proj", 4, 8, 16}, {"model.layers.1.v_proj", 16, 0.5, 2},
		{"model.layers.0.k_proj", 8, 4, 32 / math.Sqrt(8)}, {"q_proj", 4, 8, 16}, {"model.layers.1.xq_proj", 16, 2, 8},
		{"model.layers.0.q_proj", 8, 4, 32 / math.Sqrt(8)}, // both match, and layers comes before q_proj
	} {
		c.UseRSLoRA = false
		r, scale := c.rank(want.module)
		c.UseRSLoRA = true
		_, rooted := c.rank(want.module)
		if r != want.r || math.Abs(float64(scale)-want.scale) > 1e-6 || math.Abs(float64(rooted)-want.rooted) > 1e-5 {
			t.Errorf("%s has rank %d and scales %v and %v, want %+v", want.module, r, scale, rooted, want)
		}
	}
	if v, ok := match(map[string]int{"(": 1, "x": 2}, "a.x"); !ok || v != 2 {
		t.Errorf("a key that is no expression hides another: %v, %v", v, ok)
	}
}

// TestLayersByNumber: the number in a module's name, not one that begins with it.
func TestLayersByNumber(t *testing.T) {
	for _, c := range []struct {
		layers []int
		name   string
		want   bool
	}{{nil, "lm_head", true}, {[]int{1}, "model.layers.1.q_proj", true}, {[]int{1}, "model.layers.11.q_proj", false}, {[]int{0, 11}, "h.11.attn", true}, {[]int{1}, "lm_head", false}, {[]int{2}, "model.layers.1.experts.2.w1", false}} {
		if got := (&Config{LayersToTransform: c.layers}).transforms(c.name); got != c.want {
			t.Errorf("layers %v have %s: %v", c.layers, c.name, got)
		}
	}
	if got := endings([]string{"a.q", "b.q", "c", "a.b.v"}); !cmp.Equal(got, []string{"q", "c", "v"}) {
		t.Errorf("the ends are %q", got)
	}
	for name, want := range map[string][2]string{"a.b.weight": {"a.b", "weight"}, "weight": {"", "weight"}, "": {"", ""}} {
		if module, last := split(name); module != want[0] || last != want[1] {
			t.Errorf("%q is %q of %q", name, last, module)
		}
	}
}

// TestMergeByHand: scale·B·A on a weight of two outputs and three inputs, in either layout, and then the
// lengths of DoRA.
func TestMergeByHand(t *testing.T) {
	a, b := []float32{1, 2, 3, 0, 1, 0}, []float32{1, 0, 2, 10} // [2, 3] and [2, 2]
	want := []float32{1 + 0.5, 1 + 1, 1 + 1.5, 1 + 1, 1 + 2 + 5, 1 + 3}
	w := []float32{1, 1, 1, 1, 1, 1}
	m := merging{in: 3, out: 2, r: 2, scale: 0.5}
	if update(w, a, b, m); !cmp.Equal(w, want) {
		t.Errorf("the weight is %v, want %v", w, want)
	}
	turned := []float32{1, 1, 1, 1, 1, 1}
	m.inFirst = true
	update(turned, a, b, m)
	for o := range 2 {
		for i := range 3 {
			if turned[i*2+o] != want[o*3+i] {
				t.Errorf("with the inputs first it is %v, want %v turned", turned, want)
			}
		}
	}
	if (&pair{}).ReadsWeight() || !(&pair{M: &nn.Param{}}).ReadsWeight() {
		t.Error("lengths, and they alone, are of the whole weight")
	}
	m.inFirst = false
	w = []float32{3, 0, 4, 0, 0, -2}
	if m.magnify(w, []float32{10, 1}); !cmp.Equal(w, []float32{6, 0, 8, 0, 0, -1}) {
		t.Errorf("with lengths 10 and 1 it is %v", w)
	}
}

// TestPrincipalParts: scale·B·A of PiSSA's factors is the best approximation of its rank, exactly, and by a
// random subspace where the weight is of that rank.
func TestPrincipalParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		out, in := rapid.IntRange(2, 9).Draw(t, "out"), rapid.IntRange(2, 9).Draw(t, "in")
		r := rapid.IntRange(1, min(out, in)).Draw(t, "rank")
		scale := rapid.Float64Range(0.1, 4).Draw(t, "scale")
		random := tensor.NewRandom(rapid.Uint64().Draw(t, "seed"), 1)
		draw := func(rows, cols int) *mat.Dense {
			v := make([]float32, (rows*cols+1)/2*2)
			random.Normal(v, 1)
			return dense(v[:rows*cols], []int{rows, cols})
		}
		var w mat.Dense // of rank r, with directions that are far apart
		left, right := draw(out, r), draw(r, in)
		w.Mul(left, right)
		for name, of := range map[string]func() (decomposition, bool){
			"exactly": func() (decomposition, bool) { return exactly(&w) }, "by a subspace": func() (decomposition, bool) { return subspace(&w, r, 2, &random) },
		} {
			d, ok := of()
			if !ok {
				t.Fatalf("%s: no decomposition", name)
			}
			a, b := d.factors(r, scale)
			for o := range out {
				for i := range in {
					sum := 0.0
					for k := range r {
						sum += scale * float64(b[o*r+k]) * float64(a[k*in+i])
					}
					if want := w.At(o, i); math.Abs(sum-want) > 1e-4*(1+mat.Norm(&w, 2)) {
						t.Fatalf("%s: element %d, %d is %v, want %v", name, o, i, sum, want)
					}
				}
			}
			for k := range r { // A and B share each singular value evenly
				var na, nb float64
				for i := range in {
					na += float64(a[k*in+i]) * float64(a[k*in+i])
				}
				for o := range out {
					nb += float64(b[o*r+k]) * float64(b[o*r+k])
				}
				if math.Abs(na-nb) > 1e-4*(1+na) {
					t.Errorf("%s: direction %d has the lengths %v and %v", name, k, na, nb)
				}
			}
		}
		if _, ok := subspace(&w, min(out, in)+1, 1, &random); ok {
			t.Error("a rank above that of the weight can be had")
		}
	})
}

// TestSubspaces: they begin by chance, and every iteration brings them nearer to the best approximation of
// their rank; a weight that is not finite has none.
func TestSubspaces(t *testing.T) {
	const out, in, r = 12, 9, 3
	w := mat.NewDense(out, in, nil)
	random := tensor.NewRandom(4)
	v := make([]float32, out*in+1)
	random.Normal(v, 1)
	for i := range out {
		for j := range in {
			w.Set(i, j, float64(v[i*in+j]))
		}
	}
	far := func(iterations int, seed uint64) float64 {
		random := tensor.NewRandom(seed)
		d, ok := subspace(w, r, iterations, &random)
		if !ok {
			t.Fatal("no decomposition")
		}
		a, b := d.factors(r, 1)
		rest := mat.DenseCopyOf(w)
		for o := range out {
			for i := range in {
				for k := range r {
					rest.Set(o, i, rest.At(o, i)-float64(b[o*r+k])*float64(a[k*in+i]))
				}
			}
		}
		return mat.Norm(rest, 2)
	}
	d, _ := exactly(w)
	best := math.Sqrt(d.s[3]*d.s[3] + d.s[4]*d.s[4] + d.s[5]*d.s[5] + d.s[6]*d.s[6] + d.s[7]*d.s[7] + d.s[8]*d.s[8])
	if a, b := far(0, 1), far(0, 2); math.Abs(a-b) < 1e-3 {
		t.Errorf("two random starts are both %v away", a)
	}
	before := math.Inf(1)
	for _, iterations := range []int{0, 1, 2, 4, 64} {
		now := far(iterations, 1)
		if now >= before || now < best-1e-5 {
			t.Errorf("%d iterations leave %v, fewer %v and the best %v", iterations, now, before, best)
		}
		before = now
	}
	if before > best+1e-3 {
		t.Errorf("64 iterations leave %v, the best %v", before, best)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		w.Set(2, 1, bad)
		_, ok := exactly(w)
		_, near := subspace(w, r, 1, &random)
		if ok || near {
			t.Errorf("a weight with %v is decomposed: exactly %v, by a subspace %v", bad, ok, near)
		}
	}
}

// TestStartsOfPiSSA: what init_lora_weights asks for.
func TestStartsOfPiSSA(t *testing.T) {
	type start struct {
		iterations int
		exact, ok  bool
	}
	for value, want := range map[any]start{true: {}, "gaussian": {}, "pissa": {0, true, true}, "pissa_niter_0": {0, false, true}, "pissa_niter_16": {16, false, true}} {
		c := Config{InitLoraWeights: value}
		var got start
		var err error
		if got.iterations, got.exact, got.ok, err = c.pissa(); err != nil || got != want {
			t.Errorf("%v: %+v, %v, want %+v", value, got, err, want)
		}
	}
}

// TestWeightsFile: weights that are not there are told with what stands in their place, or what to do.
func TestWeightsFile(t *testing.T) {
	dir := t.TempDir()
	put := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := WeightsFile(dir); err == nil || err.Error() != "there is no file "+filepath.Join(dir, WeightsName)+"; copy the adapter anew, with all its files" {
		t.Errorf("nothing there: %v", err)
	}
	put("adapter_model.bin")
	if _, err := WeightsFile(dir); err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, "adapter_model.bin")+" is in PyTorch's format") {
		t.Errorf("PyTorch's file: %v", err)
	}
	put(WeightsName)
	if path, err := WeightsFile(dir); err != nil || path != filepath.Join(dir, WeightsName) {
		t.Errorf("both: %s, %v", path, err)
	}
}

// TestConfigFiles: what is no adapter's folder is told with what is, and absent keys have PEFT's defaults.
func TestConfigFiles(t *testing.T) {
	dir := t.TempDir()
	for _, read := range []func(string) error{func(d string) error { _, err := ReadConfig(d); return err }, func(d string) error { _, err := ReadHead(d); return err }, func(d string) error { _, err := Kind(d); return err }} {
		if err := read(dir); err == nil || !strings.Contains(err.Error(), dir+": it is no folder with adapter_config.json; name the one that a run wrote, OUT/adapter") {
			t.Errorf("an empty folder: %v", err)
		}
		file := filepath.Join(t.TempDir(), "adapter.bin")
		if err := os.WriteFile(file, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := read(file); err == nil || !strings.Contains(err.Error(), file+": it is no folder with adapter_config.json; name the one that a run wrote, OUT/adapter") {
			t.Errorf("a file: %v", err)
		}
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, ConfigName), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"peft_type": "LORA", "target_modules": ["q_proj"], "unknown": 3}`)
	c, err := ReadConfig(dir)
	want := Default()
	want.TargetModules = Modules{Names: []string{"q_proj"}}
	if err != nil || !cmp.Equal(c, want) {
		t.Errorf("%+v, %v", c, err)
	}
	write(`{"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "x/y", "modules_to_save": ["score"]}`)
	if h, err := ReadHead(dir); err != nil || !cmp.Equal(h, Head{"LORA", "SEQ_CLS", "x/y", []string{"score"}}) {
		t.Errorf("the head is %+v, %v", h, err)
	}
	for text, want := range map[string]string{`{"peft_type": 3}`: "adapter_config.json has peft_type of the wrong type (number); copy the file anew",
		`{"r": 4}`: "adapter_config.json has no peft_type; copy the file anew", `[]`: "adapter_config.json is no object of keys and values, but of the type array; copy the file anew"} {
		write(text)
		if _, err := Kind(dir); err == nil || err.Error() != "open adapter "+dir+": "+want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	const damaged = "adapter_config.json is no JSON, or cut short; copy the file anew"
	for text, want := range map[string]string{``: damaged, `{`: damaged, `{"r": 4}}`: damaged, `{"peft_type": "LORA"}`: "target_modules is empty",
		`{"r": "4"}`: "has r of the wrong type (string)", `{"r": 4.5}`: "has r of the wrong type (number 4.5)", `{"target_modules": 3}`: "has target_modules of the wrong type (number)",
		`{"rank_pattern": [1]}`: "has rank_pattern of the wrong type (array)", `{"layers_to_transform": "x"}`: "has layers_to_transform of the wrong type (string)"} {
		write(text)
		if _, err := ReadConfig(dir); err == nil || !strings.HasPrefix(err.Error(), "open adapter "+dir+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
