//go:build unix

package reward

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestProgramLeavesAService: what a program that has ended printed counts, though a process that it started
// still holds its output and errors open.
func TestProgramLeavesAService(t *testing.T) {
	for body, want := range map[string]string{"sleep 20 & echo 1; echo 2": "", "sleep 20 & echo no coffee >&2; exit 4": "exit status 4: no coffee", "sleep 20 & echo 1; echo 2; echo 3": "more than the 2 scores"} {
		t.Run(body, func(t *testing.T) {
			// before any is started: a child that another start forks has the file open for a moment, and a
			// file that is open for writing does not start
			spec := script(t, body)
			t.Parallel() // each waits for most of a second
			s := mustParse(t, spec, Options{Timeout: 15 * time.Second}).(*program)
			s.linger /= 2
			got, err := s.Score(t.Context(), make([]Answer, 2))
			if want == "" && (err != nil || !slices.Equal(got, []float64{1, 2})) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v, %v; want %q", got, err, want)
			}
		})
	}
	if s := mustParse(t, script(t, "echo 1"), Options{}).(*program); s.linger <= 0 || s.linger > 10*time.Second {
		t.Errorf("a service is waited for %v", s.linger)
	}
}

// TestProgramEndsWhole: with a program that hangs ends what it has started.
func TestProgramEndsWhole(t *testing.T) {
	left := filepath.Join(t.TempDir(), "left")
	// a machine under load may not have come to the loop before it was ended
	for timeout := 300 * time.Millisecond; ; timeout *= 2 {
		s := mustParse(t, script(t, "(while :; do echo x >> '"+left+"'; sleep 0.02; done) & wait"), Options{Timeout: timeout})
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
