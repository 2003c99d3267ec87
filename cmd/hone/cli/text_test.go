package cli

import "testing"

func TestShown(t *testing.T) {
	if got := Shown("a\x1b[31mb\r\n\tc\u009bd\x07é"); got != "a[31mb\n\tcdé" {
		t.Errorf("got %q", got)
	}
}
