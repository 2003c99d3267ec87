package clock

import (
	"testing"
	"time"
)

// TestNow: the clock goes on by less than a microsecond, never back, and as fast as that of the system.
func TestNow(t *testing.T) {
	begin, last, steps, least := time.Now(), Now(), 0, time.Hour
	first := last
	for time.Since(begin) < 100*time.Millisecond {
		now := Now()
		if now < last {
			t.Fatalf("from %v back to %v", time.Duration(last), time.Duration(now))
		}
		if now > last {
			steps, least = steps+1, min(least, time.Duration(now-last))
		}
		last = now
	}
	if least >= time.Microsecond {
		t.Errorf("%d steps, the least of %v", steps, least)
	}
	if took := time.Duration(last - first); took < 60*time.Millisecond || took > 10*time.Second {
		t.Errorf("%v in 100 ms", took)
	}
	if Since(Now()+Time(time.Second)) != 1 {
		t.Error("a time that is still to come is not taken for now")
	}
}
