package cpu

import "testing"

func TestPeak(t *testing.T) {
	p1, p2 := MeasurePeak(1), MeasurePeak(2)
	q := QuickPeak(2)
	t.Logf("1 thread %+v", p1)
	t.Logf("2 threads %+v, quick %.0f", p2, q.F32)
	for _, v := range []float64{p1.F32, p1.ReadGBs, p1.CopyGBs, p1.UpdateGBs, q.F32} {
		if v <= 0 {
			t.Errorf("a figure of %+v is %v", p1, v)
		}
	}
}
