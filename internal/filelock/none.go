//go:build (!unix && !windows) || aix

package filelock

import (
	"errors"
	"os"
)

// Try is errors.ErrUnsupported.
func Try(*os.File) error { return errors.ErrUnsupported }

// Wait is errors.ErrUnsupported.
func Wait(*os.File) error { return errors.ErrUnsupported }

// tryFolder is errors.ErrUnsupported.
func tryFolder(*os.File, string) (func(), error) { return nil, errors.ErrUnsupported }
