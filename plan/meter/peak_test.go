package meter

import (
	"testing"
	"time"
)

// TestPeakThatIsBeaten: a run faster than the peak says that a neighbour disturbed its measurement, which is repeated soon.
func TestPeakThatIsBeaten(t *testing.T) {
	p := &Peak{threads: 1, best: 1e-3, at: time.Now().Add(-2 * time.Second)}
	if p.Refresh(); p.best != 1e-3 {
		t.Fatal("the peak is measured again after two seconds, with no reason")
	}
	if share := p.Share(2e-3); share != 2 {
		t.Fatalf("the share is %v", share)
	}
	if p.Refresh(); p.best < 0.1 || p.beaten {
		t.Fatalf("the peak is %v GFLOP/s, and not measured again", p.best)
	}
}
