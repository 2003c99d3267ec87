package machine

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// systemMemory is what this process may have.
func systemMemory() int64 { return allowedMemory(os.DirFS("/")) }

// allowedMemory is the memory and swap of the machine whose files root has, or less where the process is in control groups that allow less, as in a
// container. 0 is not known.
func allowedMemory(root fs.FS) int64 {
	ram, swap := machineMemory(root)
	if ram == 0 {
		return 0
	}
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	both := int64(math.MaxInt64)
	for line := range bytes.Lines(groups) { // number:controllers:folder, the number of the second version is 0
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[0] == "0" && parts[1] == "":
			ram = min(ram, groupLimit(root, "sys/fs/cgroup", parts[2], "memory.max"))
			swap = min(swap, groupLimit(root, "sys/fs/cgroup", parts[2], "memory.swap.max"))
		case strings.Contains(","+parts[1]+",", ",memory,"):
			ram = min(ram, groupLimit(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
			both = min(both, groupLimit(root, "sys/fs/cgroup/memory", parts[2], "memory.memsw.limit_in_bytes"))
		}
	}
	return min(ram+swap, both)
}

// machineMemory is all that there is.
func machineMemory(root fs.FS) (ram, swap int64) {
	text, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range bytes.Lines(text) {
		var name string
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "%s %d kB", &name, &kib); n < 2 {
			continue
		}
		switch name {
		case "MemTotal:":
			ram = kib << 10
		case "SwapTotal:":
			swap = kib << 10
		}
	}
	return ram, swap
}

// groupLimit is the least number in the files of the given name, of a group and those it is in, below mount. A container sees its own group as the
// uppermost one, and its folder may be named as it is outside: folders that are not there say nothing.
func groupLimit(root fs.FS, mount, folder, name string) int64 {
	least := int64(math.MaxInt64)
	for at := path.Clean("/" + folder); ; at = path.Dir(at) {
		text, _ := fs.ReadFile(root, path.Join(mount, at, name))
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // else it is "max", or absent
			least = min(least, n)
		}
		if at == "/" {
			return least
		}
	}
}
