package splitmix

import "testing"

// TestKnownNumbers are those of Java's SplittableRandom and of Vigna's splitmix64.c for the state 1234567.
func TestKnownNumbers(t *testing.T) {
	state := uint64(1234567)
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		at := At(state)
		if got := Next(&state); got != want || at != want {
			t.Errorf("number %d: Next is %d and At %d, want %d", i, got, at, want)
		}
	}
	if Finish(0) != 0 {
		t.Error("Finish changes 0")
	}
}
