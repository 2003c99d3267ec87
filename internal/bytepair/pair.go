// Package bytepair is what byte pair encoding does before and after merging: it cuts text into words by a tokenizer's pattern, spells
// bytes in GPT-2's alphabet, and learns merges from counted words. Package tokenizer does the merging.
package bytepair

import (
	"encoding/binary"
	"math/bits"
)

// Pair is two neighbouring token ids, left in the upper half: the order of pairs is (left, right) ascending.
type Pair uint64

// MakePair joins two ids.
func MakePair(left, right int32) Pair { return Pair(uint32(left))<<32 | Pair(uint32(right)) }

// Left returns the first id.
func (p Pair) Left() int32 { return int32(p >> 32) }

// Right returns the second id.
func (p Pair) Right() int32 { return int32(uint32(p)) }

// Hash mixes a word of any length; its upper bits are the best.
func Hash(word []byte) uint64 {
	h := uint64(len(word)) * 0x9E3779B97F4A7C15
	for len(word) >= 8 {
		h = (bits.RotateLeft64(h, 29) ^ binary.LittleEndian.Uint64(word)) * 0xD6E8FEB86659FD93
		word = word[8:]
	}
	for _, b := range word {
		h = (h ^ uint64(b)) * 0x100000001B3
	}
	h ^= h >> 32
	return h * 0x9E3779B97F4A7C15
}
