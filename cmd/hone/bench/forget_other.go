//go:build !linux

package bench

import "errors"

// forget is not known here.
func forget(string) error {
	return errors.New("dropping a file from memory is known for Linux alone")
}
