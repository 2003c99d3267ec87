package plan

import (
	"math"
	"testing"
)

// TestSpan: no time is so long that it becomes negative.
func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{0.4: "0s", 90.2: "1m30s", 1e13: "2500000h0m0s", math.Inf(1): "2500000h0m0s"} {
		if got := Span(seconds).String(); got != want {
			t.Errorf("%v seconds are %s, want %s", seconds, got, want)
		}
	}
}
