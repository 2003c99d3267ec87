package words

import (
	"fmt"
	"testing"
)

func TestScripts(t *testing.T) {
	got := fmt.Sprint(Scripts("Straße, слово, 日本語かな 한국 عربي 12 _ Ꮳ"))
	if got != "map[Arabic:4 Cyrillic:5 Han:3 Hangul:2 Kana:2 Latin:6 other:1]" {
		t.Error(got)
	}
}
