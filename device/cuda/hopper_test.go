//go:build linux && (amd64 || arm64)

package cuda

import (
	"strings"
	"testing"

	"hone/device"
	"hone/device/cuda/kernels"
)

// TestHopper runs the kernels of warpgroups, which must be those that run for their widths where the card has them, and for no others.
func TestHopper(t *testing.T) {
	for name, c := range map[string]struct {
		arch, width int
		softCap     float32
		scale       float32
		want        bool
	}{
		"64":             {90, 64, 0, 0.125, true},
		"128":            {90, 128, 0, 0.09, true},
		"other width":    {90, 72, 0, 0.1, false},
		"soft cap":       {90, 64, 30, 0.125, false},
		"negative scale": {90, 64, 0, -0.125, false},
		"other card":     {80, 64, 0, 0.125, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := openEmulated(t, rising, false)
			d.card.arch, d.card.warpgroups = c.arch, c.arch == kernels.HopperArch
			runAttentionOf(d, device.Attention{D: c.width, Scale: c.scale, SoftCap: c.softCap}, 21, device.BF16)
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			for i := range hoppers {
				h := &hoppers[i]
				for _, k := range []kernel{h.forward.kernel, h.dq.kernel, h.dkv.kernel} {
					if _, ran := d.functions[k]; ran != (c.want && h.d == c.width) {
						t.Errorf("%s ran: %v", k.name, ran)
					}
				}
			}
		})
	}
}

// TestTarget has what only one architecture runs compiled for that one, and for no other.
func TestTarget(t *testing.T) {
	for _, c := range []struct {
		file string
		arch int
		want string
	}{{"flash64", 90, "sm_90"}, {"hopper64", 90, "sm_90a"}, {"norm", 100, "sm_100"}} {
		if got := kernels.Target(c.file, c.arch); got != c.want {
			t.Errorf("%s for %d is compiled for %s, want %s", c.file, c.arch, got, c.want)
		}
	}
	for arch, want := range map[int]int{80: 0, 90: len(hoppers), 100: 0} {
		n := 0
		for _, file := range kernels.FilesFor(arch) {
			if strings.HasPrefix(file, "hopper") {
				n++
			}
		}
		if n != want {
			t.Errorf("%d files of warpgroups for sm_%d, want %d", n, arch, want)
		}
	}
}

// TestEveryThreadSpeaks: what racecheck runs is not what training runs.
func TestEveryThreadSpeaks(t *testing.T) {
	for _, file := range kernels.FilesFor(kernels.HopperArch) {
		if warpgroups := strings.HasPrefix(file, "hopper"); (speaking(file) != kernels.Source(file)) != warpgroups {
			t.Errorf("%s differs where every thread speaks: %v", file, !warpgroups)
		}
	}
}
