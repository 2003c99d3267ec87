package modelfiles

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/cmd/hone/clitest"
)

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

func TestKeysOfResults(t *testing.T) {
	clitest.Keys(t, "merge", merged{}, "model dtype kl tokens")
	clitest.Keys(t, "export", exported{}, "out types bytes kl max_logit tokens notes seconds")
	clitest.Keys(t, "import", imported{}, "model model_type parameters tokens seconds")
	clitest.Keys(t, "inspect", inspection{}, "path kind about tensors parameters bytes types load_f32 load_bf16")
	clitest.Keys(t, "inspect, tensors", tensorLine{}, "name dtype shape bytes")
}
