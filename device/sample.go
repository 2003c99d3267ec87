package device

import "math"

// Sampler is a device that draws tokens itself, so that logits need not cross to the host. It is optional.
type Sampler interface {
	// Sample draws the tokens of s. It does nothing and reports false where it is not able to.
	Sample(s Sample) bool
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
