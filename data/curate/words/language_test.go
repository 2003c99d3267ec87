package words

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLanguageSampleIsWholeWords(t *testing.T) {
	text := strings.Repeat("größer über Äpfel ", 100)
	for n := range 200 {
		for w := range strings.FieldsSeq(sampleOf(text, n)) {
			if n > 60 && !strings.Contains(text, " "+w+" ") && w != "größer" {
				t.Fatalf("a sample of %d has the broken word %q", n, w)
			}
		}
	}
	if s := sampleOf(strings.Repeat("人", 1000), 100); strings.ContainsRune(s, '\ufffd') || len(s) < 80 {
		t.Errorf("a sample without spaces is %q", s)
	}
}

// TestPiecesOfTexts: samples and whole words are parts of the text, between characters, and no longer than asked for.
func TestPiecesOfTexts(t *testing.T) {
	text := strings.Repeat("größe ändert über 天地玄黃\n", 40)
	for most := range 200 {
		got := sampleOf(text, most)
		if !utf8.ValidString(got) || most > 0 && len(got) > most+3 {
			t.Fatalf("a sample of %d bytes is %q", most, got)
		}
		for _, piece := range strings.Fields(got) {
			if most > 60 && !strings.Contains(" "+strings.ReplaceAll(text, "\n", " ")+" ", " "+piece+" ") {
				t.Fatalf("a sample of %d bytes has the word %q", most, piece)
			}
		}
	}
	if got := sampleOf("abc", 3); got != "abc" {
		t.Errorf("all of a text is %q", got)
	}
	for _, c := range []struct {
		from, to int
		want     string
	}{{0, 13, "one two three"}, {0, 11, "one two"}, {0, 3, "one"}, {4, 4, ""}, {1, 13, " two three"}, {1, 11, " two"}, {8, 13, "three"}} {
		if got := Whole("one two three", c.from, c.to); got != c.want {
			t.Errorf("the words from %d to %d are %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

// TestCodesOfLanguages are of ISO 639-1 where it has one.
func TestCodesOfLanguages(t *testing.T) {
	for text, want := range map[string]string{
		"تمام افراد بشر آزاد به دنیا می\u200cآیند و از لحاظ حیثیت و حقوق با هم برابرند": "fa",
		"יעדער מענטש ווערט געבוירן פֿרײַ און גלײַך אין כּבֿוד און רעכט":                 "yi",
	} {
		if got, _ := Language(text, 0); got != want || !slices.Contains(Languages(), want) {
			t.Errorf("%q is said to be in %s, want %s", text, got, want)
		}
	}
}

// TestLanguagesOfScriptsTogether: Han with some kana is Japanese, wherever they stand, and Chinese that quotes a name is not; what is as much of one script
// as of another is uncertain.
func TestLanguagesOfScriptsTogether(t *testing.T) {
	chinese := "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
	for text, want := range map[string]string{
		"最終更新日時（人間が読みやすい形式）、所有者識別番号、最初作成日時": "ja",
		"が最終更新日時（人間読みやすい形式）、所有者識別番号、最初作成日時": "ja",
		chinese: "zh", chinese + "の": "zh", "の" + chinese: "zh", "ラ" + chinese + "の": "zh",
		"「Go」は Google が開発したプログラミング言語である。": "ja",
		"Go 语言由 Google 开发，程序编译为机器码。":      "zh",
	} {
		if got, certain := Language(text, 0); got != want || certain < Certain {
			t.Errorf("%q is said to be in %s, with %v", text, got, certain)
		}
	}
	for _, text := range []string{
		"通常は許可されませんが、オプション Acquire::AllowDowngradeToInsecureRepositories が上書きするために指定されました。",
		"The brown fox jumps over the lazy dog. Съешь же ещё этих мягких французских булок.",
		"최소한 하나의 $bad_syn 및 하나의 $good_syn 리비전을 넘겨야 합니다. (\"git bisect $bad_syn\" 및 \"git bisect $good_syn\" 명령을 실행하면 됩니다.)",
	} {
		if got, certain := Language(text, 0); certain >= Certain {
			t.Errorf("%q is said to be in %s for certain, with %v", text, got, certain)
		}
	}
	if _, certain := Language("The word λόγος is Greek, and the brown fox jumps over the lazy dog.", 0); certain < Certain {
		t.Errorf("a word of another script makes a sentence uncertain: %v", certain)
	}
}
