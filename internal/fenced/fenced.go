// Package fenced is memory for tests of what must not touch anything behind its operands.
package fenced

// Bytes is how much of it there is.
const Bytes = 1 << 20
