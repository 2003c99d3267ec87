//go:build !noasm

package cpuid

// host: every arm64 processor that Go supports has NEON. Cache sizes cannot be
// read without privileges and stay unknown.
func host() Features { return Features{NEON: true} }
