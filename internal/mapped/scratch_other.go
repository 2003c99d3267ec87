//go:build !unix && !windows

package mapped

import "errors"

func mapScratch(string, int) ([]byte, func([]byte) error, error) {
	return nil, nil, errors.New("this system cannot map files for writing; do without paging")
}

func evict([]byte) {}
