package recipe

import "testing"

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"6GiB": 6 << 30, "1.5 GB": 1.5e9, "123": 123, "2M": 2 << 20, "1T": 1 << 40, "3KB": 3000, "5 TiB": 5 << 40, "1e3B": 1000, "0.5KiB": 512, "2000000TB": 0, "NaNGiB": 0, "infGB": 0, "GiB": 0, "0": 0, "-1GiB": 0, "many": 0, "": 0, "6Gib": 0} {
		if got, err := parseBytes(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d bytes, %v; want %d", text, got, err, want)
		}
	}
}
