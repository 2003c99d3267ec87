package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"hone/data/curate/document"
)

// histogram is a distribution as bars: what was kept, and on top of it what was rejected.
type histogram struct {
	Title  string
	Median string
	d      document.Distribution
	edges  []float64 // of the bins, ascending; a bin holds its lower edge
	log    bool
	bars   []document.Tally
}

const histogramBins = 30

// newHistogram puts all values of a distribution into bars, of equal ratios where most would be in one of equal width.
func newHistogram(title string, d document.Distribution) *histogram {
	h := &histogram{Title: plain(title), Median: exact(d.Quantile(0.5)), d: d}
	values := d.Values()
	low, high := values[0], values[len(values)-1]
	// Fifty times the median puts half of the values into the first of thirty bars at the latest; below 1 the median says nothing of a ratio.
	h.log = low >= 0 && high > 50*max(d.Quantile(0.5), 1) // with a long tail nearly all values would be in one bar
	if h.log {                                            // zero has a bin of its own
		// From the thousandth part on: a single tiny value would stretch the scale for all.
		low = max(d.Quantile(0.001), 1)
	}
	h.bin(low, high)
	for v, t := range d {
		b := &h.bars[h.find(v)]
		b.Kept += t.Kept
		b.Rejected += t.Rejected
	}
	return h
}

// bin makes bins of equal width, or of equal ratio where the values span magnitudes.
func (h *histogram) bin(low, high float64) {
	if low == high {
		high = low + max(1, math.Abs(low))
	}
	for i := range histogramBins {
		x := float64(i) / histogramBins
		if h.log {
			h.edges = append(h.edges, low*math.Pow(high/low, x))
		} else {
			h.edges = append(h.edges, low+(high-low)*x)
		}
	}
	h.edges = append(h.edges, high)
	h.bars = make([]document.Tally, histogramBins)
}

func (h *histogram) find(v float64) int {
	i := 0
	for i+1 < histogramBins && v >= h.edges[i+1] {
		i++
	}
	return i
}

// SVG is the drawing. A bar says what it holds when pointed at.
func (h *histogram) SVG() template.HTML {
	const w, height, bottom, left = 320.0, 150.0, 24.0, 4.0
	most := int64(1)
	for _, b := range h.bars {
		most = max(most, b.Kept+b.Rejected)
	}
	step := (w - 2*left) / histogramBins
	var out strings.Builder
	fmt.Fprintf(&out, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, w, height, template.HTMLEscapeString(h.Title))
	scale := func(n int64) float64 { return float64(n) / float64(most) * (height - bottom - 8) }
	for i, b := range h.bars {
		if b.Kept+b.Rejected == 0 {
			continue
		}
		x, kept, rejected := left+float64(i)*step, scale(b.Kept), scale(b.Rejected)
		fmt.Fprintf(&out, `<g><title>%s to %s: %s kept, %s rejected</title>`, exact(h.edges[i]), exact(h.edges[i+1]), grouped(float64(b.Kept)), grouped(float64(b.Rejected)))
		fmt.Fprintf(&out, `<rect class="hit" x="%.1f" y="0" width="%.1f" height="%g"/>`, x, step, height-bottom)
		if b.Kept > 0 {
			kept = max(kept, 1)
			fmt.Fprintf(&out, `<rect class="kept" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x+.5, height-bottom-kept, step-1, kept)
		}
		if b.Rejected > 0 {
			rejected = max(rejected, 1)
			fmt.Fprintf(&out, `<rect class="rejected" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x+.5, height-bottom-kept-rejected, step-1, rejected)
		}
		out.WriteString(`</g>`)
	}
	fmt.Fprintf(&out, `<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>`, left, w-left, height-bottom, height-bottom)
	// edges and not middles: a bar says its own range when it is pointed at
	shown := []int{0, histogramBins / 2, histogramBins}
	texts := alike([]float64{h.edges[shown[0]], h.edges[shown[1]], h.edges[shown[2]]}, 3)
	for i, at := range shown {
		if h.log { // magnitudes apart, so that each has a unit of its own
			texts[i] = compact(h.edges[at])
		}
		anchor := map[int]string{0: "start", histogramBins / 2: "middle", histogramBins: "end"}[at]
		fmt.Fprintf(&out, `<text class="tick" text-anchor="%s" x="%.1f" y="%g">%s</text>`, anchor, left+float64(at)*step, height-8, texts[i])
	}
	out.WriteString(`</svg>`)
	return template.HTML(out.String())
}
