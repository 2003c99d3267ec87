package filelock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// Try locks f, or is ErrHeld at once where another has it.
func Try(f *os.File) error {
	return lock(f, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
}

// Wait locks f as soon as no other has it.
func Wait(f *os.File) error { return lock(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

// lock locks a byte that no file has: others cannot read what is locked.
func lock(f *os.File, how uint32) error {
	behind := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, &behind)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrHeld
	}
	return err
}

// tryFolder locks the folder f, which it closes then, for an open folder cannot be removed. The lock is a name that stands for the folder, of
// which the system knows as long as a process on this machine holds it.
func tryFolder(f *os.File, _ string) (release func(), err error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return nil, err
	}
	name, err := windows.UTF16PtrFromString(fmt.Sprintf(`Global\hone-%x-%x-%x`, info.VolumeSerialNumber, info.FileIndexHigh, info.FileIndexLow))
	if err != nil {
		return nil, err
	}
	held, err := windows.CreateMutex(nil, false, name)
	if held == 0 {
		return nil, err
	}
	release = func() { windows.CloseHandle(held) }
	if err != nil { // there is one of the name
		release()
		return nil, ErrHeld
	}
	f.Close()
	return release, nil
}
