package data

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTheFirstFailureIsNamed: of several documents that cannot be encoded the first is the one that the error is about, whatever the workers and the
// shards, also where training documents and those held out are at fault.
func TestTheFirstFailureIsNamed(t *testing.T) {
	var texts []string
	for i := range 12 {
		texts = append(texts, fmt.Sprintf("text number %d", i))
	}
	sides := map[bool]int{}
	for turn := range texts {
		docs := documents(slices.Concat(texts[turn:], texts[:turn])...)
		var first Placed
		for d, err := range Split(docs, 0.5, false) {
			if err != nil {
				t.Fatal(err)
			}
			first = d
			break
		}
		sides[first.Held]++
		for _, workers := range []int{1, 4} {
			for _, bytes := range []int{1, 20, 1 << 20} {
				cfg := byteConfig(filepath.Join(t.TempDir(), "tokens"))
				cfg.Encoder, cfg.Validation, cfg.Workers, cfg.ShardBytes = func() Encoder { return noEncoder{} }, 0.5, workers, bytes
				if _, _, err := Build(t.Context(), docs, cfg); err == nil || !strings.HasPrefix(err.Error(), first.Place()+": ") {
					t.Errorf("%d workers, shards of %d bytes: got %v, the first is %s", workers, bytes, err, first.Place())
				}
			}
		}
	}
	if sides[true] == 0 || sides[false] == 0 {
		t.Errorf("first documents by side: %v", sides)
	}
}
