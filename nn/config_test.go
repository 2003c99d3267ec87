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
		`{`:                   "read config.json: unexpected end",
		``:                    "read config.json",
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
