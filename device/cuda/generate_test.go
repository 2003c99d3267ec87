//go:build linux && (amd64 || arm64)

package cuda

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/device"
	"hone/generate"
	"hone/model"
)

// plain is a device without what is optional.
type plain struct{ device.Device }

// answers lets a golden model write.
func answers(t *testing.T, dev device.Device, name string, o generate.Options) []generate.Output {
	t.Helper()
	m, err := model.Open(filepath.Join("..", "..", "testdata", "golden", name), dev, device.BF16)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	out, err := generate.New(dev, device.BF16, m, nil).Run(t.Context(), [][]int32{{1, 2, 3}, {4}, {5, 6}, {7, 8, 9, 10}, {3}}, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGenerateOnTheCard: with tokens drawn on the card, and read when the next pass is under way, answers are what they are with tokens drawn on
// the host. They end at different times, and prompts take the places of others.
func TestGenerateOnTheCard(t *testing.T) {
	lately(t, func(t *testing.T, d *Device) {
		o := generate.DefaultOptions()
		o.MaxNewTokens, o.BatchSize, o.TopP, o.TopK, o.Seed = 7, 4, 0.95, 50, 7
		for id := int32(0); id < 1000; id += 3 {
			o.EOS = append(o.EOS, id)
		}
		names := []string{"llama_tied", "gpt2_tied"}
		if testing.Short() {
			names, o.MaxNewTokens = names[:1], 4
		}
		for _, name := range names {
			want := answers(t, plain{d}, name, o)
			if diff := cmp.Diff(want, answers(t, d, name, o)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			if m := d.Memory(); m.InUse != 0 {
				t.Errorf("%s: %d bytes are in use at the end", name, m.InUse)
			}
		}
	})
}
