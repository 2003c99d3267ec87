package model

import (
	"os"
	"path/filepath"
	"testing"

	"hone/device/devicetest"
)

// FuzzConfig declares models from damaged configurations: an error or a model, never a panic, and no memory
// to speak of.
func FuzzConfig(f *testing.F) {
	for _, name := range golden {
		text, err := os.ReadFile(filepath.Join(goldenDir(name), "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		dev := devicetest.NewReference()
		m, err := Declare(config, dev)
		if err != nil {
			return
		}
		m.Shape()
		if free, ok := m.Model.(interface{ Free() }); ok {
			free.Free()
		}
		if held := dev.Memory().InUse; held != 0 {
			t.Errorf("%d bytes are left on the device", held)
		}
	})
}
