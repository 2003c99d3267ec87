package filters

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"hone/data/curate/document"
)

// PII masks what identifies people or opens doors: addresses of e-mail and of machines, telephone numbers and keys.
type PII struct {
	Email bool `yaml:"email" doc:"addresses of e-mail"`
	IP    bool `yaml:"ip" doc:"public addresses of machines"`
	Phone bool `yaml:"phone" doc:"telephone numbers in international form"`
	Keys  bool `yaml:"keys" doc:"private keys and tokens of well-known services"`
}

// DefaultPII masks everything.
func DefaultPII() PII { return PII{true, true, true, true} }

var (
	// Letters with marks are of names, too; of other scripts a sentence without spaces may stand in front of an address.
	email = regexp.MustCompile(`[\p{Latin}0-9_][\p{Latin}\p{M}0-9._%+-]*@[\p{Latin}\p{M}0-9-]+(\.[\p{Latin}\p{M}0-9-]+)*\.[A-Za-z]{2,}\b`)
	ipv4  = regexp.MustCompile(`\b(?:\d{1,3}\.){3}\d{1,3}\b`)
	// Beside spaces and hyphens those at which a page does not break the line. \B before the plus: no letter or digit stands there, as in 1+1234567.
	phone = regexp.MustCompile(`\B\+\d{1,3}[ .\x{a0}\x{2011}\x{202f}-]?\(?\d{1,4}\)?([ .\x{a0}\x{2011}\x{202f}-]?\d{2,4}){2,4}\b`)
	block = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY( BLOCK)?-----`)
	token = regexp.MustCompile(`\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{36,}\b|\bglpat-[A-Za-z0-9_-]{20,}|\bAIza[A-Za-z0-9_-]{35}|` +
		`\b[rs]k_live_[A-Za-z0-9]{20,}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bsk-[A-Za-z0-9_-]{20,}|\bhf_[A-Za-z0-9]{30,}\b|` +
		`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)
)

// Step makes the step.
func (c PII) Step() document.Step { return document.Step{Name: "pii", Apply: c.apply} }

// private is what is masked in one way: what find finds and is takes for it, in lines that has does not rule out.
type private struct {
	on   bool
	has  func(text string) bool
	find *regexp.Regexp
	is   func(line string, from, to int) bool
	mask string
}

func (c PII) apply(d *document.Doc) string {
	text, n := d.Text, 0
	if c.Keys && strings.Contains(text, "PRIVATE KEY") {
		text = mask(text, private{find: block, is: isBlock, mask: "<KEY>"}, &n)
	}
	for _, p := range []private{{c.Keys, hasToken, token, isToken, "<KEY>"}, {c.Email, hasAt, email, isEmail, "<EMAIL>"},
		{c.IP, hasDottedNumbers, ipv4, isPublic, "<IP>"}, {c.Phone, hasPlusDigit, phone, isPhone, "<PHONE>"}} {
		if p.on {
			text = onLines(text, p.has, func(line string) string { return mask(line, p, &n) })
		}
	}
	d.Score("pii.masked", float64(n))
	if n > 0 {
		d.SetText(text)
	}
	return ""
}

// mask puts the mask in the place of what is private, and counts.
func mask(text string, p private, n *int) string {
	var b strings.Builder
	done := 0
	for _, at := range p.find.FindAllStringIndex(text, -1) {
		if p.is(text, at[0], at[1]) {
			b.WriteString(text[done:at[0]])
			b.WriteString(p.mask)
			done, *n = at[1], *n+1
		}
	}
	if done == 0 {
		return text
	}
	return b.String() + text[done:]
}

// keyText is of a line of a key. In a program that writes or looks for the first and the last line of a block, names and words are shorter.
var keyText = regexp.MustCompile(`[A-Za-z0-9+/=]{40}`)

// isBlock reports whether a key stands in a block, and not what a program has between the two lines as its constants.
func isBlock(text string, from, to int) bool {
	return !strings.ContainsAny(text[from:to], "\"'`") || keyText.MatchString(text[from:to])
}

// isToken reports whether a token is no part of an address, as "sk-hynix-reports-results": words in lower case, not the digits of a number.
func isToken(line string, from, to int) bool {
	s := line[from:to]
	if !strings.HasPrefix(s, "sk-") || s != strings.ToLower(s) {
		return true
	}
	return slices.ContainsFunc(strings.Split(s, "-"), func(part string) bool { return len(part) >= 20 && strings.ContainsAny(part, "0123456789") })
}

// isEmail reports whether an address ends where it was found to: a hyphen goes on with a name, as in module@v1.0.0-rc.linux-amd64.
func isEmail(line string, _, to int) bool {
	return !(strings.HasPrefix(line[to:], "-") && to+1 < len(line) && isLetterOrDigit(line[to+1]))
}

// special are the addresses that no machine has in the whole net, by IANA's registry of special-purpose ones: of private networks, of documentation, of tests.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
}

// isPublic reports whether four numbers are a public address: more of them are those of a section or an object identifier, as in 1.3.6.1.5.5.7.
func isPublic(line string, from, to int) bool {
	if from > 1 && line[from-1] == '.' && isDigit(line[from-2]) || to+1 < len(line) && line[to] == '.' && isDigit(line[to+1]) {
		return false
	}
	ip, err := netip.ParseAddr(line[from:to])
	return err == nil && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// isPhone reports whether what looks like a telephone number may be one by the plan that countries share, ITU-T E.164: no country's code begins with 0, as
// zones of time do and decimal fractions, North America's numbers have eleven digits, and no number has more than fifteen. Digits in three
// groups or more are taken for a number however many they are.
func isPhone(line string, from, to int) bool {
	digits, parts := "", strings.FieldsFunc(line[from+1:to], func(r rune) bool { return r < '0' || r > '9' })
	for _, p := range parts {
		digits += p
	}
	switch {
	case digits[0] == '0' || len(digits) < 7 || digits[0] == '1' && (len(digits) < 11 || digits[1] < '2'):
		return false
	case len(parts) > 2 || len(parts) == 2 && line[from+1+len(parts[0])] != '.':
		return true
	case len(digits) > 15 || digits[0] == '1' && len(digits) > 11:
		return false
	case len(parts) == 1:
		return !isSum(line[:from])
	}
	// With a point it is a decimal fraction. One of many digits may be the number of an owner of a domain, +49.3012345678; m=+123.456789000 is Go's time.
	return len(parts[0]) <= 3 && len(digits) >= 11 && !strings.HasSuffix(line[:from], "=")
}

// isSum reports whether a plus behind a text adds to it, as in f(x)+2345678 and 1.+2345678.
func isSum(text string) bool {
	n := len(text)
	return n > 0 && strings.IndexByte(")]+", text[n-1]) >= 0 || n > 1 && text[n-1] == '.' && isDigit(text[n-2])
}

// onLines puts mask(line) in the place of each line that has what no match lacks. Regular expressions are slow, and few
// lines need them.
func onLines(text string, has func(string) bool, mask func(line string) string) string {
	if !has(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	for line := range strings.Lines(text) {
		if has(line) {
			line = mask(line)
		}
		b.WriteString(line)
	}
	return b.String()
}

func hasAt(text string) bool { return strings.Contains(text, "@") }

// hasToken reports whether the beginning of a token stands in a text. Most have an underscore, which prose has not.
func hasToken(text string) bool {
	has := func(mark string) bool { return strings.Contains(text, mark) }
	return slices.ContainsFunc([]string{"AKIA", "ASIA", "AIza", "eyJ", "xox", "sk-", "glpat-"}, has) ||
		has("_") && slices.ContainsFunc([]string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "k_live_", "hf_"}, has)
}

// hasPlusDigit reports whether a digit follows a plus.
func hasPlusDigit(text string) bool {
	for {
		_, after, found := strings.Cut(text, "+")
		if !found || after != "" && isDigit(after[0]) {
			return found
		}
		text = after
	}
}

// hasDottedNumbers reports whether three points stand between digits with at most three digits from one to the next.
func hasDottedNumbers(text string) bool {
	points, since := 0, 0
	for i := 1; i+1 < len(text); i++ {
		switch c := text[i]; {
		case '0' <= c && c <= '9':
			if since++; since > 3 {
				points = 0
			}
		case c == '.' && isDigit(text[i-1]) && isDigit(text[i+1]):
			if points++; points == 3 {
				return true
			}
			since = 0
		default:
			points, since = 0, 0
		}
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetterOrDigit(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }
