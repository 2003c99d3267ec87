package report

import (
	"fmt"
	"html/template"
	"strings"
	"unicode"

	"hone/data/curate"
)

// clusterView is a cluster of duplicates as the page shows it.
type clusterView struct {
	Kind, Rule string
	Size       string
	Kept       string // place
	Members    []memberView
	Hidden     int // members that are not shown
}

type memberView struct {
	Place, Bytes, Similarity string
	Kept                     bool
	Text                     template.HTML // escaped, with what the kept text lacks marked
	Same                     bool          // nothing differs in what is shown
}

// viewCluster shows the kept text and, of the others, where they begin to differ from it.
func viewCluster(c curate.Cluster) clusterView {
	v := clusterView{Kind: c.Kind, Rule: c.Rule, Size: grouped(float64(c.Size)), Hidden: c.Size - len(c.Members)}
	for i, m := range c.Members {
		view := memberView{Place: m.Place, Bytes: bytesText(int64(m.Bytes)), Kept: i == 0, Text: template.HTML(template.HTMLEscapeString(clip(m.Text)))}
		if i == 0 {
			v.Kept = m.Place
		} else {
			view.Similarity = fmt.Sprintf("%.2f", m.Similarity)
			view.Text, view.Same = differences(c.Members[0].Text, m.Text)
		}
		v.Members = append(v.Members, view)
	}
	return v
}

// shownText is how much of a member's text is shown, and before the first difference.
const (
	shownText   = 500
	shownBefore = 120
)

func clip(text string) string {
	if len(text) <= shownText {
		return text
	}
	return strings.ToValidUTF8(text[:shownText], "") + " …"
}

// differences is the part of text around its first difference from kept, with the words marked that kept does not have there.
func differences(kept, text string) (marked template.HTML, same bool) {
	a, b := pieces(kept), pieces(text)
	in := common(a, b)
	first := 0 // first piece that differs
	for first < len(in) && in[first] {
		first++
	}
	if first == len(in) {
		return template.HTML(template.HTMLEscapeString(clip(text))), true
	}
	from, before := first, 0
	for from > 0 && before < shownBefore {
		from--
		before += len(b[from])
	}
	var out strings.Builder
	if from > 0 {
		out.WriteString("… ")
	}
	to := from
	for shown := 0; to < len(b) && shown < shownText; to++ {
		shown += len(b[to])
		word := template.HTMLEscapeString(b[to])
		if !in[to] && strings.TrimSpace(b[to]) != "" { // white space that is marked would look like a mistake of the page
			word = "<mark>" + word + "</mark>"
		}
		out.WriteString(word)
	}
	if to < len(b) {
		out.WriteString(" …")
	}
	return template.HTML(out.String()), false
}

// pieces cuts a text into words and what is between them.
func pieces(text string) []string {
	var out []string
	start, space := 0, false
	for i, r := range text {
		s := unicode.IsSpace(r)
		if i > 0 && s != space {
			out, start = append(out, text[start:i]), i
		}
		space = s
	}
	return append(out, text[start:])
}

// common says which pieces of b are in a longest common subsequence with a.
func common(a, b []string) []bool {
	in := make([]bool, len(b))
	// The quadratic table of dynamic programming; members' texts are cut to their beginnings before they come here.
	length := make([][]int16, len(a)+1) // of the longest one behind i and j; texts are a few hundred pieces
	for i := range length {
		length[i] = make([]int16, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			in[j] = true
			i++
			j++
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return in
}
