package vec

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestHalves: on all paths every value comes back from its halves, the upper of which is the nearest, ties away from zero.
func TestHalves(t *testing.T) {
	if s := unsafe.Sizeof(halvesArgs{}); s != 4*8 {
		t.Errorf("halvesArgs has %d bytes", s)
	}
	var all []float32
	for high := range uint32(1 << 16) {
		for _, low := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			all = append(all, math.Float32frombits(high<<16|low))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	eachPath(t, func(t *testing.T, path Path) {
		for _, x := range [][]float32{all, all[1:18], all[:15], all[3:3]} {
			h := Halves{make([]uint16, len(x)+1), make([]uint16, len(x)+1)}
			back := make([]float32, len(x))
			path.Split(h, 1, x)
			path.Join(back, h, 1)
			for i, v := range x {
				was, is, high := math.Float32bits(v), math.Float32bits(back[i]), h.High[i+1]
				if v != v {
					if back[i] == back[i] || uint32(high)<<16 != was&0xffff0000|1<<22 {
						t.Fatalf("%x comes back as %x from %x", was, is, high)
					}
				} else if is != was || uint32(high) != (was+0x8000)>>16 {
					t.Fatalf("%x comes back as %x from %x", was, is, high)
				}
			}
			if h.High[0] != 0 || h.Rest[0] != 0 {
				t.Fatal("written before the first")
			}
		}
	})
}
