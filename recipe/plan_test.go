package recipe

import "testing"

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"6GiB": 6 << 30, "1.5 GB": 1.5e9, "123": 123, "2M": 2 << 20, "0": 0, "-1GiB": 0, "many": 0, "": 0, "6Gib": 0} {
		if got, err := parseBytes(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d bytes, %v; want %d", text, got, err, want)
		}
	}
}
