package machine

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestAllowedMemory: a container has what its control groups allow, of both versions, by whatever folder it knows itself.
func TestAllowedMemory(t *testing.T) {
	const meminfo, mib = "proc/meminfo=MemTotal:  8192 kB|MemFree: 1 kB|SwapTotal: 2048 kB|", 1 << 20
	for _, c := range []struct {
		files string // NAME=TEXT, apart by spaces around a semicolon; | ends a line
		want  int64
	}{
		{"", 0},
		{meminfo, 10 * mib},
		{meminfo + " ; proc/self/cgroup=0::/a/b| ; sys/fs/cgroup/a/b/memory.max=max| ; sys/fs/cgroup/a/b/memory.swap.max=max|", 10 * mib},
		{meminfo + " ; proc/self/cgroup=0::/a/b| ; sys/fs/cgroup/a/b/memory.max=max| ; sys/fs/cgroup/a/memory.max=4194304|", 6 * mib},
		{meminfo + " ; proc/self/cgroup=0::/a/b| ; sys/fs/cgroup/a/b/memory.max=3145728| ; sys/fs/cgroup/a/b/memory.swap.max=0|", 3 * mib},
		{meminfo + " ; proc/self/cgroup=0::/| ; sys/fs/cgroup/memory.max=3145728| ; sys/fs/cgroup/memory.swap.max=0|", 3 * mib},
		{meminfo + " ; proc/self/cgroup=0::/../outside| ; sys/fs/cgroup/memory.max=3145728| ; sys/fs/cgroup/memory.swap.max=0|", 3 * mib},
		{meminfo + " ; proc/self/cgroup=5:cpu,memory:/docker/x|0::/| ; sys/fs/cgroup/memory/memory.limit_in_bytes=5242880|", 7 * mib},
		{meminfo + " ; proc/self/cgroup=5:memory:/x|0::/| ; sys/fs/cgroup/memory/x/memory.limit_in_bytes=5242880| ; " +
			"sys/fs/cgroup/memory/x/memory.memsw.limit_in_bytes=6291456| ; sys/fs/cgroup/memory/memory.limit_in_bytes=9223372036854771712|", 6 * mib},
		{meminfo + " ; proc/self/cgroup=nonsense|4:memoryless:/x| ; sys/fs/cgroup/memory/x/memory.limit_in_bytes=1|", 10 * mib},
	} {
		root := fstest.MapFS{}
		for file := range strings.SplitSeq(c.files, " ; ") {
			if name, text, ok := strings.Cut(file, "="); ok {
				root[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "|", "\n"))}
			}
		}
		if got := allowedMemory(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.files, got, c.want)
		}
	}
	if n := allowedMemory(os.DirFS("/")); n < 64*mib {
		t.Errorf("this machine has %d bytes", n)
	}
}
