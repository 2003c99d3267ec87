package cli

import (
	"os/exec"
	"testing"
)

func TestShown(t *testing.T) {
	if got := Shown("a\x1b[31mb\r\n\tc\u009bd\x07é"); got != "a[31mb\n\tcdé" {
		t.Errorf("got %q", got)
	}
}

// TestWord: a shell makes the argument of it again.
func TestWord(t *testing.T) {
	for arg, want := range map[string]string{"runs/first-2.x": "runs/first-2.x", "data=a,b": "data=a,b", "größe": "größe", "": "''",
		"my corpus": "'my corpus'", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "a*": "'a*'", "~/x": "'~/x'"} {
		if got := Word(arg); got != want {
			t.Errorf("%s: got %s, want %s", arg, got, want)
		}
		if sh, err := exec.LookPath("sh"); err == nil {
			if out, err := exec.Command(sh, "-c", "printf %s "+Word(arg)).Output(); err != nil || string(out) != arg {
				t.Errorf("%s: the shell makes %q of it (%v)", arg, out, err)
			}
		}
	}
}
