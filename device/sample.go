package device

import "math"

// Sampler is a device that draws tokens itself, so that logits need not cross to the host. It is optional.
type Sampler interface {
	// Draws says whether the device is able to draw by the settings of s, whose buffers it does not look at.
	Draws(s Sample) bool
	// Sample draws the tokens of s, for which Draws is true.
	Sample(s Sample)
}

// Sample draws a token for each of N rows of V logits x, in the order of steps of Hugging Face transformers:
//
//  1. with Temperature 0, or TopK 1 and one largest logit: the token with the largest logit, the lowest one among equals;
//  2. top-k: with TopK > 0 the tokens whose logit is at least the TopK-th largest;
//  3. temperature: token i weighs exp((x[i]-max x)/Temperature), in f32, and its mass is the whole number of 2^-40 in that;
//  4. top-p: with TopP < 1 tokens in falling order of their weights, equal ones in the order of their ids, up to and with the one
//     with which their mass reaches TopP·2^64 times that of all, over 2^64, rounded down;
//  5. min-p: tokens that weigh at least MinP;
//  6. the first token with which the mass, added up in the order of step 4, or with TopP 1 of the ids, exceeds that of all times
//     the row's random number over 2^64, rounded down.
//
// Masses are whole numbers, so that nothing depends on the order of adding. A row with NaN or +Inf, or with nothing above -Inf, gets -1.
type Sample struct {
	V           int
	Logits      Buffer // F32 [N, V]
	Random      Buffer // I32 [N, 2], the lower and the upper half of 64 random bits
	IDs         Buffer // I32 [N]
	Temperature float64
	TopK        int
	TopP, MinP  float64
}

// Fraction is p, at least 0 and below 1, in units of 2^-64.
func Fraction(p float64) uint64 { return uint64(math.Ldexp(p, 64)) }

// Inverse is what logits are multiplied by for a temperature: finite, so that the largest one weighs 1.
func Inverse(temperature float64) float32 { return float32(min(1/temperature, 1e30)) }

// Weight is e^d for -87 <= d <= 0, the weight of a token of step 3: 2^n·2^f with f in [-½, ½], where (2^f-1)/f is interpolated at five
// Chebyshev points (relative error 2e-7, besides the rounding of d·log2 e). It is short enough to be inlined; math.Exp takes three times
// as long, which shows at vocabularies of 50,000. Weights of -80 and less are lost in any sum with the best token's 1: callers take 0.
func Weight(d float32) float32 {
	// The conversions forbid fused multiply-adds, so that weights, and with them the tokens, are the same on all processors.
	t := float32(d * 1.44269504)
	n := int32(t - 0.5) // truncation toward zero rounds t-½ <= 0 to the nearest integer to t
	f := t - float32(n)
	p := 1 + float32(f*(0.693147181+float32(f*(0.240223490+float32(f*(5.55038101e-2+float32(f*(9.66636852e-3+float32(f*1.33813025e-3)))))))))
	return p * math.Float32frombits(uint32(n+127)<<23)
}

// Mass is a weight in whole units of 2^-40: sums of them are the same in whatever order a device adds.
func Mass(weight float32) uint64 { return uint64(int64(weight * (1 << 40))) }
