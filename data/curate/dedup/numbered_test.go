package dedup

import (
	"errors"
	"fmt"
	"testing"
)

// TestLastReadReadsOnce while the document stays, the first one, number 0, among them; what failed is read again.
func TestLastReadReadsOnce(t *testing.T) {
	var l lastRead[string]
	reads, broken := 0, errors.New("broken")
	of := func(doc uint64, fails error) (string, error) {
		return l.of(doc, func(doc uint64) (string, error) { reads++; return fmt.Sprint("text ", doc), fails })
	}
	for i, c := range []struct {
		doc   uint64
		fails error
		reads int
	}{{0, broken, 1}, {0, nil, 2}, {0, nil, 2}, {7, broken, 3}, {0, nil, 3}, {7, nil, 4}, {7, broken, 4}, {8, nil, 5}} {
		got, err := of(c.doc, c.fails)
		if reads != c.reads || err == nil && got != fmt.Sprint("text ", c.doc) {
			t.Errorf("call %d for %d: %q, %v, after %d reads", i, c.doc, got, err, reads)
		}
	}
}
