//go:build !nodl && (linux || darwin || windows) && (amd64 || arm64)

package dl

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

func TestCall(t *testing.T) {
	c := map[string]struct{ library, getpid string }{
		"linux": {"libc.so.6", "getpid"}, "darwin": {"/usr/lib/libSystem.B.dylib", "getpid"}, "windows": {"msvcrt.dll", "_getpid"},
	}[runtime.GOOS]
	l, err := Open("libthereisnone.so", c.library)
	if err != nil {
		t.Fatal(err)
	}
	var pid, length uintptr
	if err := l.Functions(map[string]*uintptr{c.getpid: &pid, "strlen": &length}); err != nil {
		t.Fatal(err)
	}
	if got := int(int32(Call(pid))); got != os.Getpid() {
		t.Errorf("getpid gives %d, want %d", got, os.Getpid())
	}
	text := []byte("seventeen letters\x00")
	if got := Call(length, uintptr(unsafe.Pointer(&text[0]))); got != 17 {
		t.Errorf("strlen gives %d, want 17", got)
	}
	if _, err := l.Function("there_is_no_such_function"); err == nil || !strings.Contains(err.Error(), "there_is_no_such_function") {
		t.Errorf("a function that is not there: %v", err)
	}
}

// TestAbsentSideBySide fails to open libraries from many goroutines, which change threads: what failed must be said each time.
func TestAbsentSideBySide(t *testing.T) {
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for range 50 {
				if _, err := Open("libthereisnone.so"); err == nil || !Absent(err) {
					t.Errorf("no library: %v", err)
					return
				}
				runtime.Gosched()
			}
		})
	}
	all.Wait()
}

// TestAbsent tells a library that is not there from a file that is none.
func TestAbsent(t *testing.T) {
	if _, err := Open("libthereisnone.so"); err == nil || !Absent(err) {
		t.Errorf("no library: %v", err)
	}
	unfit := filepath.Join(t.TempDir(), "unfit.so")
	if err := os.WriteFile(unfit, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(unfit, "libthereisnone.so"); err == nil || Absent(err) {
		t.Errorf("an unfit one: %v", err)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	if _, err := Open(); err == nil {
		t.Error("nothing was opened without an error")
	}
	if _, err := Open("libthereisnone.so.1"); err == nil || !strings.Contains(err.Error(), "libthereisnone") {
		t.Errorf("a library that is not there: %v", err)
	}
}
