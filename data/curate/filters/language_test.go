package filters

import (
	"strings"
	"testing"

	"hone/data/curate/document"
)

// articles are the first of the Universal Declaration of Human Rights.
var articles = map[string]string{
	"en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.",
	"de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
	"fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et doivent agir les uns envers les autres.",
	"es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
	"it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di coscienza e devono agire gli uni verso gli altri.",
	"pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência, devem agir uns para com os outros em espírito de fraternidade.",
	"nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap te gedragen.",
	"pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa.",
	"sv": "Alla människor är födda fria och lika i värde och rättigheter. De har utrustats med förnuft och samvete och bör handla gentemot varandra i en anda av gemenskap.",
	"tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
	"vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
	"ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.",
	"uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах. Вони наділені розумом і совістю і повинні діяти у відношенні один до одного в дусі братерства.",
	"zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
	"ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
	"ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
	"ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق، وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح الإخاء.",
	"hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
}

func TestLanguages(t *testing.T) {
	c := DefaultLanguage()
	c.Keep = []string{"en"}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	step := c.Step()
	for want, text := range articles {
		for _, times := range []int{1, 40} { // one that is looked at as a whole, and one of which a sample is
			d := &document.Doc{Text: strings.Repeat(text+"\n", times)}
			rejected := step.Apply(d)
			if got := d.Scores()["language.code"]; got != want {
				t.Errorf("%d times the article in %s is said to be in %v", times, want, got)
			}
			if reason := map[bool]string{true: "", false: "another language"}[want == "en"]; rejected != reason {
				t.Errorf("the article in %s is rejected because of %q, want %q", want, rejected, reason)
			}
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "numbers": "1234 5678", "a word": "Ja", "a question": "Wo ist der Bahnhof?",
		"code": "func main() {\n\tfor i := 0; i < len(xs); i++ {\n\t\tfmt.Println(xs[i])\n\t}\n}\n",
	} {
		if rejected := step.Apply(&document.Doc{Text: text}); rejected != "uncertain language" {
			t.Errorf("%s is rejected because of %q", name, rejected)
		}
	}
	commented := "// Serve accepts incoming connections on the listener, creating a new service goroutine for each.\n// The service goroutines read requests and then call the handler to reply to them.\nfunc Serve(l net.Listener) error {\n"
	if rejected := step.Apply(&document.Doc{Text: commented}); rejected != "" {
		t.Errorf("code with comments in English is rejected because of %q", rejected)
	}
}

func TestLanguageRefusesUnknownCodes(t *testing.T) {
	c := DefaultLanguage()
	c.Keep = []string{"english"}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "known are") || !strings.Contains(err.Error(), " en,") {
		t.Errorf("error %v", err)
	}
}
