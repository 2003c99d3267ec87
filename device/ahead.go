package device

// Ahead is a device that draws tokens and can be asked for what comes after them before the host has read them. It is optional.
type Ahead interface {
	Sampler
	Later
	// Pick computes dst[n] = src[at[n]]: dst I32 [N], src I32 [M], at I32 [N].
	Pick(dst, src, at Buffer)
}
