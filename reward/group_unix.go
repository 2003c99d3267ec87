//go:build unix

package reward

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// together makes a program the head of a process group of its own, so that ending it ends also what it has started.
func together(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
