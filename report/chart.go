package report

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
)

// figure is a chart of curves over the steps, drawn as SVG; page.js adds the values under the pointer.
type figure struct {
	Title  string
	Curves []curve
	Rules  []rule
	Marks  []mark
	w, h   float64
	zero   bool // the axis starts at 0
	cut    bool // the axis ends at top, and spikes above it are cut
	top    float64
}

// curve is a line through points; steps ascend. Class is its style in page.css.
type curve struct {
	Name, Class string
	X, Y        []float64
	Dots        bool
}

// rule is a horizontal line at a value to compare with.
type rule struct {
	Name, Class string
	Y           float64
}

// mark is a vertical line at a step where something happened.
type mark struct {
	Name string
	X    float64
}

const (
	marginLeft, marginRight = 52, 14
	marginTop, marginBottom = 12, 30
	maxPoints               = 600 // of a curve as drawn
	dotSpace                = 8.0 // for a dot of a curve
)

// axis maps values lo to hi to places from at to to.
type axis struct{ lo, hi, from, to float64 }

func (a axis) at(v float64) float64 { return a.from + (v-a.lo)/(a.hi-a.lo)*(a.to-a.from) }

// axes are scales that hold all finite points and rules.
func (f *figure) axes() (x, y axis) {
	x, y = axis{math.Inf(1), math.Inf(-1), 0, 0}, axis{math.Inf(1), math.Inf(-1), 0, 0}
	for _, c := range f.Curves {
		for i := range c.X {
			if finite(c.Y[i]) {
				x.lo, x.hi = min(x.lo, c.X[i]), max(x.hi, c.X[i])
				y.lo, y.hi = min(y.lo, c.Y[i]), max(y.hi, c.Y[i])
			}
		}
	}
	for _, r := range f.Rules {
		y.lo, y.hi = min(y.lo, r.Y), max(y.hi, r.Y)
	}
	if f.cut {
		y.hi = f.top
	}
	if f.zero {
		y.lo = min(0, y.lo)
	}
	most := y.hi
	x, y = x.widen(), y.widen()
	pad := (y.hi - y.lo) * 0.05
	share := y.lo >= 0 && most <= 1
	if y.hi += pad; !f.zero {
		y.lo -= pad
	}
	if share { // what lies between 0 and 1 may be a share, of which there is none outside
		y.lo, y.hi = max(y.lo, 0), min(y.hi, 1)
	}
	x.from, x.to = marginLeft, f.w-marginRight
	y.from, y.to = f.h-marginBottom, marginTop
	return x, y
}

// cutSpikes lets the axis end below spikes beside which the rest would be a flat line, and marks the highest of them.
func (f *figure) cutSpikes() {
	rest, fence := fence(f.Curves, f.Rules)
	spike := mark{}
	highest := fence
	for _, c := range f.Curves {
		for i, v := range c.Y {
			if finite(v) && v > highest {
				highest, spike = v, mark{"up to " + compact(v), c.X[i]}
			}
		}
	}
	if highest > fence {
		f.cut, f.top, f.Marks = true, rest, append(f.Marks, spike)
	}
}

// fence is the value beyond which a point is a spike: it would leave the rest of the curves, which reaches up to rest, less than a tenth of the height.
// The rest is all but the highest fiftieth of a curve; how a curve begins is part of it, as a loss does that falls fast.
func fence(curves []curve, rules []rule) (rest, fence float64) {
	lo, rest := math.Inf(1), math.Inf(-1)
	for _, r := range rules {
		lo, rest = min(lo, r.Y), max(rest, r.Y)
	}
	for _, c := range curves {
		ys := slices.DeleteFunc(slices.Clone(c.Y), func(v float64) bool { return !finite(v) })
		if len(ys) == 0 {
			continue
		}
		rest = max(rest, ys[0])
		slices.Sort(ys)
		lo, rest = min(lo, ys[0]), max(rest, ys[max(0, len(ys)-1-max(1, len(ys)/50))])
	}
	if rest <= lo { // of a level nothing can be told
		return rest, math.Inf(1)
	}
	return rest, lo + 10*(rest-lo)
}

// widen makes an empty range one that can be drawn.
func (a axis) widen() axis {
	switch {
	case a.lo > a.hi, a.lo == 0 && a.hi == 0:
		a.lo, a.hi = 0, 1
	case a.lo == a.hi:
		a.lo, a.hi = a.lo-math.Abs(a.lo)/2, a.hi+math.Abs(a.hi)/2
	}
	return a
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// ticks are as many round numbers from lo to hi as there are up to n+1. Whole leaves out fractions, as there are none of steps.
func ticks(lo, hi float64, n int, whole bool) []float64 {
	// 1, 2, 2.5 and 5 times a power of ten are the steps that people count in.
	size := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(n)))-1) // a tenth of what is needed, to begin with units that are too small
	for ; ; size *= 10 {
		for _, m := range []float64{1, 2, 2.5, 5} {
			unit := m * size
			first, last := math.Ceil(lo/unit), math.Floor(hi/unit)
			if last-first > float64(n) || whole && unit != math.Trunc(unit) {
				continue
			}
			var out []float64
			for i := first; i <= last; i++ {
				out = append(out, i*unit)
			}
			return out
		}
	}
}

// tickTexts are numbers of ticks, with three digits or, where that rounds one of them off its place, with as many as it takes.
func tickTexts(ticks []float64) []string {
	digits := 3
	for len(ticks) > 1 && digits < 9 && slices.ContainsFunc(ticks, func(v float64) bool { return math.Abs(roundTo(v, digits)-v) > 1e-3*(ticks[1]-ticks[0]) }) {
		digits++
	}
	return alike(ticks, digits)
}

// alike writes the numbers of an axis in one notation, since 7.5e-4 below 0.001, or 750 below 1k, has to be worked out before it can be compared: all with
// the unit or the power of ten of the largest. Up to 10,000 there is no unit, nor for numbers of five digits and more, which would be longer with one.
func alike(values []float64, digits int) []string {
	most := 0.0
	for _, v := range values {
		most = max(most, math.Abs(v))
	}
	size, name := 1.0, ""
	switch most = roundTo(most, digits); {
	case most >= 1e4 && digits < 5:
		size, name = unitOf(most)
	case most > 0 && most < 1e-3:
		power := int(math.Floor(math.Log10(most)))
		size, name = math.Pow10(power), "e"+strconv.Itoa(power)
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = "0" // has no unit, nor a sign
		if v = roundTo(v/size, digits); v != 0 {
			texts[i] = strconv.FormatFloat(v, 'f', -1, 64) + name
		}
	}
	return texts
}

// SVG is the drawing.
func (f *figure) SVG() template.HTML {
	x, y := f.axes()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, f.w, f.h, template.HTMLEscapeString(f.Title))
	rows := ticks(y.lo, y.hi, int(f.h/45), false)
	for i, text := range tickTexts(rows) {
		v := rows[i]
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" text-anchor="end" x="%d" y="%.1f">%s</text>`,
			x.from, x.to, y.at(v), y.at(v), marginLeft-7, y.at(v)+4, text)
	}
	columns := ticks(x.lo, x.hi, int(f.w/80), true)
	for i, text := range tickTexts(columns) {
		fmt.Fprintf(&b, `<text class="tick" text-anchor="middle" x="%.1f" y="%g">%s</text>`, x.at(columns[i]), f.h-10, text)
	}
	fmt.Fprintf(&b, `<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>`, x.from, x.to, y.from, y.from)
	for _, r := range f.Rules {
		fmt.Fprintf(&b, `<line class="rule %s" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, r.Class, x.from, x.to, y.at(r.Y), y.at(r.Y))
	}
	for _, m := range f.Marks {
		at, anchor := x.at(m.X)+5, ""
		if m.X > (x.lo+x.hi)/2 { // on the side where there is room
			at, anchor = at-10, ` text-anchor="end"`
		}
		fmt.Fprintf(&b, `<line class="mark" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/><text class="rulename"%s x="%.1f" y="%g">%s</text>`,
			x.at(m.X), x.at(m.X), y.from, y.to, anchor, at, y.to+12, template.HTMLEscapeString(m.Name))
	}
	for _, c := range f.Curves {
		c.draw(&b, x, y)
	}
	// drawn last, so that no curve hides what it says
	for _, r := range f.Rules { // above the curves
		fmt.Fprintf(&b, `<text class="rulename" text-anchor="end" x="%g" y="%.1f">%s %s</text>`,
			x.to, y.at(r.Y)-5, template.HTMLEscapeString(r.Name), compact(r.Y))
	}
	b.WriteString(`<line class="cursor" y1="12" y2="0" visibility="hidden"/></svg>`)
	return template.HTML(b.String())
}

// draw writes the curve as a path that is broken where a value is not finite.
func (c *curve) draw(b *strings.Builder, x, y axis) {
	xs, ys := thin(c.X, c.Y)
	fmt.Fprintf(b, `<path class="curve %s" d="`, c.Class)
	pen := "M"
	for i := range xs {
		if !finite(ys[i]) {
			pen = "M"
			continue
		}
		fmt.Fprintf(b, "%s%.1f %.1f", pen, x.at(xs[i]), y.at(min(ys[i], y.hi))) // a spike ends at the frame
		pen = "L"
	}
	b.WriteString(`"/>`)
	dots := len(xs) == 1 || c.Dots && float64(len(xs))*dotSpace <= x.to-x.from // closer they would be a thick line, which hides others
	for i := range xs {
		if dots && finite(ys[i]) {
			fmt.Fprintf(b, `<circle class="dot %s" r="3" cx="%.1f" cy="%.1f"/>`, c.Class, x.at(xs[i]), y.at(min(ys[i], y.hi)))
		}
	}
}

// thin keeps the lowest and the highest point of each of maxPoints/2 stretches, so that spikes stay visible. A point that is not finite stays where
// its stretch has no other.
func thin(xs, ys []float64) (x, y []float64) {
	n := len(xs)
	if n <= maxPoints {
		return xs, ys
	}
	for s := range maxPoints / 2 {
		from, to := s*n/(maxPoints/2), (s+1)*n/(maxPoints/2)
		lo, hi := from, from
		for i := from; i < to; i++ {
			if ys[i] < ys[lo] || !finite(ys[lo]) {
				lo = i
			}
			if ys[i] > ys[hi] || !finite(ys[hi]) {
				hi = i
			}
		}
		first, second := min(lo, hi), max(lo, hi)
		x, y = append(x, xs[first]), append(y, ys[first])
		if second != first {
			x, y = append(x, xs[second]), append(y, ys[second])
		}
	}
	return x, y
}

// hover is what page.js needs to show values: the plot's box, the range of steps and the points.
type hover struct {
	Box    [4]float64 `json:"box"` // left, right, top, bottom in the drawing's units
	Width  float64    `json:"width"`
	Range  [2]float64 `json:"range"`
	Curves []hovered  `json:"curves"`
}

type hovered struct {
	Name  string    `json:"name"`
	Class string    `json:"class"`
	X     []float64 `json:"x"`
	Y     []string  `json:"y"` // as shown
}

// Data is the points as JSON for page.js. Marshal escapes <, > and &, so it cannot end the script element.
func (f *figure) Data() (template.JS, error) {
	x, y := f.axes()
	h := hover{Box: [4]float64{x.from, x.to, y.to, y.from}, Width: f.w, Range: [2]float64{x.lo, x.hi}}
	for _, c := range f.Curves {
		xs, ys := thin(c.X, c.Y)
		p := hovered{Name: c.Name, Class: c.Class, X: xs, Y: make([]string, len(ys))}
		for i, v := range ys {
			p.Y[i] = exact(v)
		}
		h.Curves = append(h.Curves, p)
	}
	text, err := json.Marshal(h)
	return template.JS(text), err
}

// compact writes a number in few letters: 1200 as 1.2k.
func compact(v float64) string {
	v = roundTo(v, 3) // before the unit is chosen: 999,999 is 1M, not 1000k
	size, name := unitOf(v)
	return short(v/size) + name
}

// unitOf is the largest unit that a number reaches, 1 without a name below a thousand.
func unitOf(v float64) (size float64, name string) {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= u.size {
			return u.size, u.name
		}
	}
	return 1, ""
}

// short writes three digits, without zeros at the end.
func short(v float64) string {
	if v = roundTo(v, 3); v == 0 {
		return "0" // also what has a sign
	}
	if math.Abs(v) < 1e-3 {
		return strings.Replace(strconv.FormatFloat(v, 'e', -1, 32), "e-0", "e-", 1)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// exact writes four digits, zeros at the end included, so that columns line up; of what is below 1 three that count, so that a KL divergence of
// 0.0015 is not 0.002.
func exact(v float64) string {
	a := math.Abs(v)
	switch {
	case !finite(v):
		return fmt.Sprint(v)
	case a >= 1e5:
		return compact(v)
	case v == 0:
		return "0" // also what has a sign
	case v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a < 1e-3:
		return strconv.FormatFloat(v, 'e', 2, 64)
	}
	before := int(math.Floor(math.Log10(a))) // digits before the point, less one; negative with zeros behind it
	if before < 0 {
		return strconv.FormatFloat(v, 'f', 2-before, 64)
	}
	return strconv.FormatFloat(v, 'f', max(0, 3-before), 64)
}

func roundTo(v float64, digits int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return v
	}
	return r
}
