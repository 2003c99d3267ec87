//go:build race

package tensor

// reuses is off under the race detector: there a tensor that somebody holds beyond its scope stays empty, and
// its use panics. Elsewhere it may have become another operation's tensor, and its use gives wrong numbers.
const reuses = false
