package cuda

import (
	"errors"
	"testing"

	"hone/device/cuda/toolkit"
	"hone/internal/dl"
)

// noDevice is CUDA_ERROR_NO_DEVICE of cuda.h.
const noDevice = 100

// needLibrary skips a test where a library of NVIDIA's is not installed. With -libraries it has to be there, and what is there has to open.
func needLibrary(t testing.TB, l toolkit.Library) {
	t.Helper()
	_, err := l.Open(folders(), 0)
	if *libraries == "" && errors.Is(err, toolkit.ErrNotFound) {
		t.Skipf("a library of NVIDIA's is not installed here: %v", err)
	}
	if err != nil {
		t.Fatalf("-libraries %q: %v", *libraries, err)
	}
}

// needCard skips a test where there is no NVIDIA driver or no card behind it.
func needCard(t testing.TB) {
	t.Helper()
	_, err := dl.Open(toolkit.DriverPaths()...)
	if err != nil && dl.Absent(err) {
		t.Skipf("no NVIDIA driver is installed here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
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
		t.Skipf("no card of compute capability 8.0 or above is here: %s has %d.%d", cards[0].name, cards[0].arch/10, cards[0].arch%10)
	}
}
