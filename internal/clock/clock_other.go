//go:build !windows

package clock

import "time"

var begin = time.Now()

// Now is the time, to less than a microsecond.
func Now() Time { return Time(time.Since(begin)) }
