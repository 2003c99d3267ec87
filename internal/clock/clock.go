// Package clock tells short times apart. time.Now goes on in steps of half a millisecond to 16 on Windows, which is longer than what is measured.
package clock

import "time"

// Time is when Now was called.
type Time time.Duration

// Since is the time that has gone by since t, at least a nanosecond, so that a rate by it is a number.
func Since(t Time) time.Duration { return max(time.Duration(Now()-t), 1) }
