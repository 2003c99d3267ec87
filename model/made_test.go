package model

import (
	"testing"

	"hone/device"
	"hone/device/cpu"
)

// TestMade fills matrices with given values, packed ones too, and vectors as usual.
func TestMade(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	config := []byte(`{"model_type":"llama","hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":16,"vocab_size":20,"max_position_embeddings":8}`)
	filled := 0
	m, err := Made(config, dev, device.F32, Packed{Packing: device.NF4}, func(b device.Buffer) {
		filled += b.Len
		dev.Fill(b, 0.5)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	matrices := 0
	for _, p := range m.Params {
		want := float32(1) // of a norm
		if len(p.Shape) > 1 {
			matrices += p.Len()
			want = 0.5
		}
		if p.Storage != device.Unpacked {
			continue
		}
		v, err := p.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if v[0] != want || v[len(v)-1] != want {
			t.Errorf("%s begins with %g and ends with %g, want %g", p.Name, v[0], v[len(v)-1], want)
		}
	}
	if filled != matrices {
		t.Errorf("%d values were made for %d", filled, matrices)
	}
	if _, err := Made([]byte("{}"), dev, device.F32, Packed{}, nil); err == nil {
		t.Error("a config without a model_type was taken")
	}
}
