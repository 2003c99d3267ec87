//go:build !unix

package mapped

import (
	"errors"
	"os"
)

func mapShared(*os.File, int64) ([]byte, func([]byte) error, error) {
	return nil, nil, errors.New("this system cannot map files for writing; do without paging")
}

func evict([]byte) {}
