package nn

import (
	"slices"
	"strings"
	"testing"
)

// refused fails where an error is none, or has not got the words in one line.
func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error %v, want %q", what, err, want)
	}
}

func TestReadConfig(t *testing.T) {
	var c struct {
		Hidden int `json:"hidden_size"`
	}
	if err := ReadConfig([]byte(`{"hidden_size":8,"other":[1]}`), &c); err != nil || c.Hidden != 8 {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		`{"hidden_size":"8"}`: "config key hidden_size is of the wrong type (string)",
		`{"hidden_size":8.5}`: "config key hidden_size is of the wrong type (number 8.5)",
		`[8]`:                 "is no object of keys and values, but of the type array",
		"null\n":              "is no object of keys and values, but null",
		`{`:                   "config.json is empty or cut short",
		``:                    "config.json is empty or cut short",
		`{"rope_theta": NaN}`: "config key rope_theta has a value that JSON does not have",
		`{"a": -Infinity}`:    "config key a has a value that JSON does not have",
		`{"a": 1], "b": 2}`:   "read config.json: invalid character",
	} {
		refused(t, text, ReadConfig([]byte(text), &c), want)
	}
}

func TestHeads(t *testing.T) {
	for _, c := range []struct {
		config               string
		hidden, heads, kv, d int // as they are before
		wantKV, wantD        int
		want                 string
	}{
		{`{}`, 12, 3, 0, 0, 3, 4, ""},
		{`{"num_key_value_heads":null}`, 12, 4, 8, 0, 4, 3, ""}, // whatever the default is
		{`{}`, 12, 4, 2, 0, 2, 3, ""},
		{`{}`, 12, 5, 1, 16, 1, 16, ""}, // given, and no part of the channels
		{`{}`, 12, 5, 0, 0, 0, 0, "hidden_size 12 is not a multiple of num_attention_heads 5"},
		{`{}`, 12, 4, 3, 0, 0, 0, "num_attention_heads 4 is not a multiple of num_key_value_heads 3"},
		{`{}`, 12, 0, 0, 0, 0, 0, "num_attention_heads is 0"},
		{`{}`, -1, 1, 0, 0, 0, 0, "hidden_size is -1"},
		{`{}`, 12, 3, -3, 0, 0, 0, "num_key_value_heads is -3"},
		{`{}`, 12, 3, 0, -4, 0, 0, "head_dim is -4"},
		{`{}`, 1 << 20, 1, 0, 0, 0, 0, "head_dim is 1048576"},
		{`{}`, 1 << 20, 1 << 15, 0, 0, 0, 0, "num_attention_heads is 32768"},
		{`[`, 12, 3, 0, 0, 0, 0, "config.json"},
	} {
		kv, d := c.kv, c.d
		err := Heads([]byte(c.config), c.hidden, c.heads, &kv, &d)
		if c.want != "" {
			refused(t, c.want, err, c.want)
		} else if err != nil || kv != c.wantKV || d != c.wantD {
			t.Errorf("%+v: %d key/value heads of %d, %v", c, kv, d, err)
		}
	}
}

func TestLayerTypes(t *testing.T) {
	if got := PatternedLayers(7, 3); strings.Join(got, " ") != "sliding_attention sliding_attention full_attention sliding_attention sliding_attention full_attention sliding_attention" {
		t.Errorf("every third: %v", got)
	}
	windows, err := LayerWindows(UpperWindows(4, 2, 9), 4, 9)
	if err != nil || !slices.Equal(windows, []int{0, 0, 9, 9}) {
		t.Errorf("the upper layers: %v, %v", windows, err)
	}
	if windows, err := LayerWindows(UpperWindows(2, 0, 0), 2, 0); err != nil || !slices.Equal(windows, []int{0, 0}) {
		t.Errorf("without a window: %v, %v", windows, err)
	}
	if got := UpperWindows(2, 1, 1); !slices.Equal(got, []string{"full_attention", "sliding_attention"}) {
		t.Errorf("a window of one token: %v", got)
	}
	_, err = LayerWindows([]string{"full_attention"}, 2, 9)
	refused(t, "too few", err, "layer_types has 1 entries for num_hidden_layers 2")
	_, err = LayerWindows([]string{"full_attention", "sliding_attention"}, 2, 0)
	refused(t, "no window", err, "sliding_attention at layer 1, but sliding_window is 0")
	_, err = LayerWindows([]string{"linear_attention"}, 1, 9)
	refused(t, "another kind", err, `"linear_attention" at layer 0, which is not supported`)
	seven, half := 7, 0.5
	if Window(nil) != 0 || Window(&seven) != 7 || SoftCap(nil) != 0 || SoftCap(&half) != 0.5 {
		t.Error("keys that are null, and that are not")
	}
}

func TestPositive(t *testing.T) {
	if err := Positive("vocab_size", 1, "num_hidden_layers", maxModules, "head_dim", maxHeadDim, "hidden_size", maxSize); err != nil {
		t.Error(err)
	}
	for key, v := range map[string]int{"vocab_size": 0, "num_hidden_layers": maxModules + 1, "num_local_experts": maxModules + 1, "head_dim": maxHeadDim + 1, "hidden_size": maxSize + 1} {
		refused(t, key, Positive("fine", 1, key, v), "config key "+key+" is ")
	}
}

// TestCheckNumbers: keys that must be above 0 are, at the top and in the groups of rotary positions; what is
// absent, null or no number is left to its reader.
func TestCheckNumbers(t *testing.T) {
	deep := strings.Repeat(`{"rope_scaling":`, 9000) + `{}` + strings.Repeat(`}`, 9000) // no model's, and soon read
	for _, fine := range []string{deep, `{}`, `{"rope_theta":1,"rms_norm_eps":null}`, `{"rope_theta":"many"}`, `{"rope_scaling":{"rope_theta":5,"factor":"x"}}`} {
		if err := CheckNumbers([]byte(fine)); err != nil {
			t.Errorf("%.80s: %v", fine, err)
		}
	}
	for text, want := range map[string]string{
		`{"rope_theta":0}`:    "config key rope_theta is 0",
		`{"rope_theta":1e39}`: "config key rope_theta is 1e+39",
		`{"rope_parameters":{"full_attention":{"rope_theta":-2}}}`: "rope_parameters: full_attention: config key rope_theta is -2",
		`{"rope_scaling":{"attention_factor":0}}`:                  "rope_scaling: config key attention_factor is 0",
		`[]`: "no object",
	} {
		refused(t, text, CheckNumbers([]byte(text)), want)
	}
}

// TestEditConfig: what is not set stays as it is written.
func TestEditConfig(t *testing.T) {
	got, err := EditConfig([]byte(`{"cap":30.0,"gone":1,"size":8}`), map[string]any{"gone": nil, "size": 16, "new": "x"})
	if err != nil || strings.Join(strings.Fields(string(got)), "") != `{"cap":30.0,"new":"x","size":16}` {
		t.Errorf("%s, %v", got, err)
	}
	_, err = EditConfig([]byte(`{`), nil)
	refused(t, "damaged", err, "cut short")
	_, err = EditConfig([]byte(`null`), map[string]any{"a": 1})
	refused(t, "null", err, "no object")
	_, err = EditConfig([]byte(`{}`), map[string]any{"f": func() {}})
	refused(t, "no JSON", err, "config key f")
}
