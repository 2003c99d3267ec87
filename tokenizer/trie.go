package tokenizer

import "math/bits"

// trie finds the tokens that a text starts with, byte by byte. Edges lie in one open-addressing table, keyed by node and byte.
type trie struct {
	edges []trieEdge
	shift uint8
	root  [256]int32 // -1 where no token starts
	ids   []int32    // token that ends at a node, or -1
}

type trieEdge struct {
	key  uint64 // node<<8 | byte, plus one; 0 is empty
	node int32
}

// newTrie makes room for so many nodes, at most half full.
func newTrie(nodes int) *trie {
	size := 1 << bits.Len(uint(max(2*nodes, 16)-1))
	t := &trie{edges: make([]trieEdge, size), shift: uint8(64 - bits.Len(uint(size-1))), ids: make([]int32, 1, nodes+1)}
	for i := range t.root {
		t.root[i] = -1
	}
	t.ids[0] = -1
	return t
}

// slot returns the edge with a key, or the empty one where it belongs.
func (t *trie) slot(key uint64) *trieEdge {
	mask := uint64(len(t.edges) - 1)
	for i := key * 0x9E3779B97F4A7C15 >> t.shift; ; i = (i + 1) & mask {
		if e := &t.edges[i]; e.key == key || e.key == 0 {
			return e
		}
	}
}

// next returns the child of node by b, or -1.
func (t *trie) next(node int32, b byte) int32 {
	if node == 0 {
		return t.root[b]
	}
	if e := t.slot(uint64(node)<<8 | uint64(b) + 1<<40); e.key != 0 {
		return e.node
	}
	return -1
}

// add stores a token; the trie must have been made for all bytes of all tokens.
func (t *trie) add(name string, id int32) {
	node := int32(0)
	for i := range len(name) {
		child := t.next(node, name[i])
		if child < 0 {
			child = int32(len(t.ids))
			t.ids = append(t.ids, -1)
			if node == 0 {
				t.root[name[i]] = child
			} else {
				key := uint64(node)<<8 | uint64(name[i]) + 1<<40
				*t.slot(key) = trieEdge{key, child}
			}
		}
		node = child
	}
	t.ids[node] = id
}
