package filters

import (
	"strings"
	"testing"

	"hone/data/curate/document"
)

// TestWhatIsMaskedOfNumbers: numbers that people and machines are reached by, among dates, fractions, sums, versions and names of objects, which code is full of.
func TestWhatIsMaskedOfNumbers(t *testing.T) {
	for text, want := range map[string]string{
		// telephone numbers in the forms that phonenumbers writes, and that of RFC 5733
		"+33 1 23 45 67 89, tel:+1-201-555-0123, +44 (0)20 7946 0958, +491701234567.":                "<PHONE>, tel:<PHONE>, <PHONE>, <PHONE>.",
		"+49\u00a030\u00a01234567 +33\u202f1\u202f23\u202f45\u202f67\u202f89 +49‑30‑1234567":         "<PHONE> <PHONE> <PHONE>",
		"Tel.+49 30 1234567, (home)+49 30 1234567, +1.7035555555, +49.3012345678":                    "Tel.<PHONE>, (home)<PHONE>, <PHONE>, <PHONE>",
		"x = [+3.14159265, +48.8566, +1.4142135623731] and m=+9000000000.000000000 m=+123.456789000": "x = [+3.14159265, +48.8566, +1.4142135623731] and m=+9000000000.000000000 m=+123.456789000",
		"Wed Oct 10 20:19:24 +0000 2018 and Thu Feb 04 21:00:57 +1130 2010":                          "Wed Oct 10 20:19:24 +0000 2018 and Thu Feb 04 21:00:57 +1130 2010",
		"@@ -100000,7 +100001,8 @@ +1000000 +1 234 567 +1980-02-29T01:02":                            "@@ -100000,7 +100001,8 @@ +1000000 +1 234 567 +1980-02-29T01:02",
		"p[0]+2345678, f(x)+2345678, ++2345678, 222222.+2345678j, +2345678901234567":                 "p[0]+2345678, f(x)+2345678, ++2345678, 222222.+2345678j, +2345678901234567",
		// addresses of machines
		"9.9.9.9, 9.9.9.9. at http://9.9.9.9:80/ or www.9.9.9.9":                      "<IP>, <IP>. at http://<IP>:80/ or www.<IP>",
		"OID 1.3.6.1.5.5.7.3.1 and RFC 5280 3.1.1.3.2. of v1.2.3.4, 01.02.03.04":      "OID 1.3.6.1.5.5.7.3.1 and RFC 5280 3.1.1.3.2. of v1.2.3.4, 01.02.03.04",
		"100.64.0.1 192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9 240.0.0.1":          "100.64.0.1 192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9 240.0.0.1",
		"100.63.255.255 100.128.0.0 192.0.1.0 198.17.0.0 198.20.0.0 203.0.114.0 8.8.": "<IP> <IP> <IP> <IP> <IP> <IP> 8.8.",
	} {
		checkMask(t, text, want)
	}
}

// checkMask puts a text through the step, twice: what is masked once stays as it is.
func checkMask(t *testing.T, text, want string) {
	t.Helper()
	d := &document.Doc{Text: text}
	for range 2 {
		if DefaultPII().Step().Apply(d); d.Text != want {
			t.Errorf("%q becomes %q, want %q", text, d.Text, want)
		}
	}
}

// TestWhatIsMaskedOfNames: addresses of people with letters of Europe, and names of software that look like them.
func TestWhatIsMaskedOfNames(t *testing.T) {
	for text, want := range map[string]string{
		"müller@example.de José.Núñez@bücher.example ümit@example.com":                "<EMAIL> <EMAIL> <EMAIL>",
		"写信给lee@example.org。":                                                         "写信给<EMAIL>。",
		"x='a@example.org' \"b@example.org\" <c@example.org> _d@example.org":          "x='<EMAIL>' \"<EMAIL>\" <<EMAIL>> <EMAIL>",
		"toolchain@v0.0.1-go1.999testmod.windows-386 lodash@4.17.21 e@example.org - ": "toolchain@v0.0.1-go1.999testmod.windows-386 lodash@4.17.21 <EMAIL> - ",
	} {
		checkMask(t, text, want)
	}
}

// TestWhatIsMaskedOfKeys: tokens of services that write them in lower case, too, and blocks of keys, of which a program may have the first and the last line.
func TestWhatIsMaskedOfKeys(t *testing.T) {
	hex, mixed := strings.Repeat("0f3a", 16), strings.Repeat("aB3", 12)
	program := "const (\n\tbegin = \"-----BEGIN PRIVATE KEY-----\"\n\tend   = \"-----END PRIVATE KEY-----\"\n)\n"
	for text, want := range map[string]string{
		"sk-or-v1-" + hex + " sk-" + hex[:32]:                                                                 "<KEY> <KEY>",
		"example.org/sk-hynix-reports-third-quarter-2023 sk-folding-cube-loading":                             "example.org/sk-hynix-reports-third-quarter-2023 sk-folding-cube-loading",
		"github_pat_" + mixed + "_" + mixed + " glpat-" + mixed[:20]:                                          "<KEY> <KEY>",
		"'AIza" + mixed[:35] + "' sk_live_" + mixed + " rk_live_" + mixed:                                     "'<KEY>' <KEY> <KEY>",
		"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOY\n-----END PGP PRIVATE KEY BLOCK-----\n":                "<KEY>\n",
		"k = \"-----BEGIN PRIVATE KEY-----\\n\" +\n\t\"" + hex + "\\n\" +\n\t\"-----END PRIVATE KEY-----\"\n": "k = \"<KEY>\"\n",
		program: program,
	} {
		checkMask(t, text, want)
	}
}
