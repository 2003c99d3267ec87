//go:build unix

package reward

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestProgramEndsWhole: with a program that hangs ends what it has started.
func TestProgramEndsWhole(t *testing.T) {
	left := filepath.Join(t.TempDir(), "left")
	for timeout := 300 * time.Millisecond; ; timeout *= 2 { // a machine under load may not have come to the loop before it was ended
		s := mustParse(t, script(t, "(while :; do echo x >> "+left+"; sleep 0.02; done) & wait"), Options{Timeout: timeout})
		if _, err := s.Score(context.Background(), []Answer{{}}); err == nil {
			t.Fatal("it answered")
		}
		if _, err := os.Stat(left); err == nil {
			break
		} else if timeout > 10*time.Second {
			t.Fatal(err)
		}
	}
	size := func() int64 {
		info, err := os.Stat(left)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	time.Sleep(50 * time.Millisecond) // what was under way is done
	before := size()
	time.Sleep(200 * time.Millisecond)
	if after := size(); after != before {
		t.Errorf("%d bytes were written after the program was ended", after-before)
	}
}
