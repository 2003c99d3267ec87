package bench

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Pages of a kind in every 100 of the crawl. RefinedWeb, of Common Crawl (Penedo et al. 2023, section 3 and figure 2), lost 2 to lists of URLs, 50 to other
// languages, 24 to poor quality and 12 to copies, and kept 12.
const (
	goodPages    = 12
	copiedPages  = 12
	foreignPages = 50
	poorPages    = 26
)

// Of the copies, 22.2 in 29.2 are virtually identical (Fetterly, Manasse and Najork 2003), and sources of copies follow a power law there.
const identical = 22.2 / 29.2

// crawl makes pages like those of the web around good ones. Every made page is as long as a good one that is drawn.
type crawl struct {
	*prose
	*rand.Rand
	next  map[string][]string // words that follow a word in good pages
	words []string            // of good pages
}

// poorKinds share the poor pages equally.
var poorKinds = []struct {
	name string
	make func(c *crawl, size int) string
}{
	{"listing", (*crawl).listing}, {"keywords", (*crawl).keywords}, {"notices", (*crawl).notices}, {"generated code", (*crawl).generatedCode},
	{"minified script", (*crawl).minified}, {"dump", (*crawl).dump}, {"random text", (*crawl).randomText},
}

// madeCrawl has each good page once, and the other kinds around them.
func madeCrawl(p *prose, seed uint64) []page {
	c := &crawl{prose: p, Rand: rand.New(rand.NewPCG(seed, 3)), next: map[string][]string{}}
	for _, text := range p.good {
		words := strings.Fields(text)
		for i, w := range words[1:] {
			c.next[words[i]] = append(c.next[words[i]], w)
		}
		c.words = append(c.words, words...)
	}
	var pages []page
	order := c.Perm(len(p.good))
	popular := rand.NewZipf(c.Rand, 1.2, 4, uint64(len(order)-1))
	for i, text := range p.good {
		pages = append(pages, page{"good", c.framed(text)})
		if i*copiedPages/goodPages < (i+1)*copiedPages/goodPages {
			pages = append(pages, page{"copy", c.copied(p.good[order[popular.Uint64()]])})
		}
	}
	for range len(p.good) * foreignPages / goodPages {
		pages = append(pages, page{"other language", c.foreign(c.size())})
	}
	for i := range len(p.good) * poorPages / goodPages {
		kind := poorKinds[i%len(poorKinds)]
		pages = append(pages, page{kind.name, kind.make(c, c.size())})
	}
	c.Shuffle(len(pages), func(i, j int) { pages[i], pages[j] = pages[j], pages[i] })
	return pages
}

// size is the length of a good page.
func (c *crawl) size() int { return len(c.good[c.IntN(len(c.good))]) }

// pick is one of the items.
func (c *crawl) pick(items ...string) string { return items[c.IntN(len(items))] }

// pageOf adds pieces until the page has its size.
func pageOf(size int, piece func() string) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(piece())
	}
	return b.String()
}

// framed is a page as it stands on a site: half of them between a menu and a notice, one in 20 with quotes that were decoded as Windows-1252.
func (c *crawl) framed(text string) string {
	if c.IntN(20) == 0 {
		text = strings.NewReplacer("'", "â€™", `"`, "â€œ").Replace(text)
	}
	if c.IntN(2) == 0 {
		return text
	}
	return c.menu() + "\n\n" + text + "\n" + c.pick(stock...) + " " + c.pick(stock...) + "\n"
}

func (c *crawl) menu() string {
	var items []string
	for range 4 + c.IntN(6) {
		items = append(items, c.pick("Home", "News", "About us", "Contact", "Products", "Support", "Blog", "Login", "Search", "Careers", "Downloads", "Community", "Documentation", "Pricing", "Events"))
	}
	return strings.Join(items, c.pick(" | ", " » ", " "))
}

// copied is a good page on another site: most as they are, the others with paragraphs gone and words replaced.
func (c *crawl) copied(text string) string {
	if c.Float64() < identical {
		return c.framed(text)
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if c.IntN(10) == 0 {
			continue
		}
		words := strings.Split(line, " ")
		for i := range words {
			if c.IntN(50) == 0 {
				words[i] = c.words[c.IntN(len(c.words))]
			}
		}
		b.WriteString(strings.TrimRight(strings.Join(words, " "), "\n") + "\n")
	}
	return c.framed(b.String())
}

// languages are syllables of which words are made, most frequent first, and what stands between words.
var languages = []struct {
	syllables, space string
}{
	{"der ein sch und gen ver lich ung ich ten keit aus mit be für ü tion haft zu bar", " "},
	{"de la les que un est pour dans é tion ment ou ux ré con par eau ant ois ille", " "},
	{"el que los en un por con ado ción es ar la mente ía ño ras ter pre do cu", " "},
	{"и не на что по ра но ста ет ния про ой ств ли ко ка ть ва пе мо", " "},
	{"的 一 是 不 了 人 我 在 有 他 这 中 大 来 上 国 个 到 说 们 为 子 和 你 地 出 道 也 时 年 得 就 那 要 下 以 生 会 自 着", ""},
	{"の に は を た が で て と し れ さ い う か ま す な も こ ん る 日 本 人 大 年 会 社 新", ""},
}

// foreign is a page in one of the made languages: words by Zipf's law in sentences.
func (c *crawl) foreign(size int) string {
	l := languages[c.IntN(len(languages))]
	syllables := strings.Fields(l.syllables)
	zipf := rand.NewZipf(c.Rand, 1.1, 2.7, 1<<16)
	return pageOf(size, func() string {
		var words []string
		for range 6 + c.IntN(14) {
			words = append(words, spelt(zipf.Uint64(), syllables))
		}
		return strings.Join(words, l.space) + c.pick(". ", ". ", ". ", ".\n")
	})
}

// spelt is a word by its rank: short ones are frequent.
func spelt(rank uint64, syllables []string) string {
	word, base := "", uint64(len(syllables))
	for rank++; rank > 0; rank /= base {
		word += syllables[rank%base]
	}
	return word
}

// stock are sentences that sites share.
var stock = []string{
	"We use cookies to give you the best experience on our website.", "By continuing to browse you agree to our use of cookies.", "All rights reserved.",
	"Please enable JavaScript to view this page.", "Sign in to save your preferences and to leave a comment.", "Subscribe to our newsletter for weekly updates.",
	"This site is protected by reCAPTCHA and the privacy policy and terms of service apply.", "The page you are looking for could not be found.",
	"We and our partners store and access information on a device and process personal data.", "You can change your choices at any time in the settings.",
	"Share this page with your friends.", "Powered by our content management system.", "Your session has expired, please log in again.",
	"Click here to read more about how we handle your data.", "Copyright belongs to the respective owners.", "No comments yet, be the first to write one.",
	"Free shipping on all orders of more than fifty dollars.", "Your cart is empty.", "Sorry, your browser is not supported.", "Rate this page to help us improve.",
}

// notices is a page of stock sentences.
func (c *crawl) notices(size int) string {
	return pageOf(size, func() string { return c.pick(stock...) + c.pick(" ", "\n") })
}

// goods are what listings sell and spam praises.
var goods = []string{"running shoes", "phone cases", "garden chairs", "coffee makers", "winter jackets", "used cars", "hotel rooms", "vitamins", "wall clocks", "headphones", "printer ink", "yoga mats", "car insurance", "payday loans", "replica watches", "web hosting"}

// listing is a page of a shop.
func (c *crawl) listing(size int) string {
	head := c.menu() + "\nShowing results 1 to 48\n"
	return head + pageOf(size-len(head), func() string {
		return fmt.Sprintf("%s model %c%d\n$%d.99\n%d reviews\nAdd to cart\n", c.pick(goods...), 'A'+rune(c.IntN(26)), c.IntN(9000), 5+c.IntN(400), c.IntN(900))
	})
}

// keywords is a page for search engines alone.
func (c *crawl) keywords(size int) string {
	what := c.pick(goods...)
	return pageOf(size, func() string {
		return c.pick("buy ", "cheap ", "best ", "discount ", "order ", "where to find ") + what + c.pick(" online", " near me", " free shipping", " best price", " review", " sale") + c.pick(", ", ", ", ", ", ".\n")
	})
}

// generatedCode is a part of a file that a program wrote for Go.
func (c *crawl) generatedCode(size int) string {
	text := c.machine[c.IntN(len(c.machine))]
	from := c.IntN(max(1, len(text)-size))
	return strings.ToValidUTF8(text[from:min(len(text), from+size)], "")
}

func (c *crawl) minified(size int) string {
	name := func() rune { return 'a' + rune(c.IntN(26)) }
	return pageOf(size, func() string {
		return fmt.Sprintf("function %c%d(%c,%c){return %c.%s(%d)?%c[%d]:!1}", name(), c.IntN(99), name(), name(), name(), c.pick("has", "get", "indexOf", "call"), c.IntN(999), name(), c.IntN(99))
	})
}

// dump is bytes in base64.
func (c *crawl) dump(size int) string {
	return pageOf(size, func() string {
		raw := make([]byte, 57)
		for i := range raw {
			raw[i] = byte(c.Uint32())
		}
		return base64.StdEncoding.EncodeToString(raw) + "\n"
	})
}

// randomText is drawn word by word from what follows a word in good pages: no rule about form tells it from them.
func (c *crawl) randomText(size int) string {
	word := ""
	return pageOf(size, func() string {
		follow := c.next[word]
		if len(follow) == 0 {
			follow = c.words
		}
		word = follow[c.IntN(len(follow))]
		return word + c.pick(" ", " ", " ", " ", " ", " ", " ", " ", " ", " ", " ", " ", " ", " ", "\n")
	})
}
