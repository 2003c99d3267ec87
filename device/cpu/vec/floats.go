package vec

// Floats are numbers in f32 or in bf16, with the path that converts them. Functions over them read and write
// pieces of at most Chunk elements: an f32 piece is the memory itself, a bf16 piece is converted in a buffer that stays in the first-level cache.
type Floats struct {
	F    []float32
	H    []uint16 // bf16; nil where they are f32
	Path Path
}

// Chunk is the number of elements that are converted and computed at a time.
const Chunk = 1024

// Slice is elements lo to hi.
func (v Floats) Slice(lo, hi int) Floats {
	if v.H == nil {
		return Floats{F: v.F[lo:hi], Path: v.Path}
	}
	return Floats{H: v.H[lo:hi], Path: v.Path}
}

// Load returns elements lo to hi; buf holds them when they must be converted.
func (v Floats) Load(lo, hi int, buf []float32) []float32 {
	if v.H == nil {
		return v.F[lo:hi]
	}
	buf = buf[:hi-lo]
	v.Path.Widen(buf, v.H[lo:hi])
	return buf
}

// Out returns where to compute elements lo to hi before Store.
func (v Floats) Out(lo, hi int, buf []float32) []float32 {
	if v.H == nil {
		return v.F[lo:hi]
	}
	return buf[:hi-lo]
}

// Store finishes elements from lo on, computed in what Out or Load returned.
func (v Floats) Store(lo int, y []float32) {
	if v.H != nil {
		v.Path.Round(v.H[lo:lo+len(y)], y)
	}
}

// Len is the number of elements.
func (v Floats) Len() int { return len(v.F) + len(v.H) }
