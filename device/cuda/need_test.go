package cuda

import (
	"errors"
	"testing"

	"hone/internal/dl"
)

// noDevice is CUDA_ERROR_NO_DEVICE of cuda.h.
const noDevice = 100

// needLibrary skips a test where a library of NVIDIA's is not installed. With -libraries it has to be there. That what is
// there can be used is for the test to say.
func needLibrary(t testing.TB, l library) {
	t.Helper()
	if _, err := l.open(folders(), 0); err != nil {
		if *libraries != "" {
			t.Fatalf("-libraries %s: %v", *libraries, err)
		}
		t.Skipf("lib%s is not installed here: %v", l.name, err)
	}
}

// needCard skips a test where there is no NVIDIA driver or no card behind it.
func needCard(t testing.TB) {
	t.Helper()
	if _, err := dl.Open(driverPaths()...); err != nil {
		t.Skipf("no NVIDIA driver is installed here: %v", err)
	}
	c, err := findCU()
	if e := (*cuError)(nil); errors.As(err, &e) && e.code == noDevice {
		t.Skipf("the NVIDIA driver sees no card here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cards, err := c.cards()
	if err != nil {
		t.Fatal(err)
	}
	if len(cards) == 0 {
		t.Skip("the NVIDIA driver sees no card here")
	}
	if cards[0].arch < 80 {
		t.Skipf("%s is older than the cards that hone computes on", cards[0].name)
	}
}
