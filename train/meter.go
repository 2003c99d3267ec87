package train

import "math"

// Meter gathers what an objective measures in the micro-batches of a step; each metric is the mean over what was added.
type Meter struct {
	sums, counts map[string]float64
}

// NewMeter returns one with nothing in it.
func NewMeter() *Meter { return &Meter{map[string]float64{}, map[string]float64{}} }

// Add notes values of a metric.
func (m *Meter) Add(name string, values ...float64) {
	for _, v := range values {
		m.sums[name] += v
		m.counts[name]++
	}
}

// AddMean notes the mean of n values of a metric.
func (m *Meter) AddMean(name string, mean float64, n int) {
	m.sums[name] += mean * float64(n)
	m.counts[name] += float64(n)
}

// Take returns the means and begins anew. Numbers that are not finite are left out: JSON has no word for them.
func (m *Meter) Take() map[string]float64 {
	means := make(map[string]float64, len(m.sums))
	for name, sum := range m.sums {
		if mean := sum / m.counts[name]; !math.IsNaN(mean) && !math.IsInf(mean, 0) {
			means[name] = mean
		}
	}
	clear(m.sums)
	clear(m.counts)
	return means
}
