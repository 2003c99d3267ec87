// Package generate continues token sequences with a language model: sampling
// from rows of logits, and a batched engine with a key/value cache.
//
// All randomness is a function of (seed, sequence, position), so a sequence
// does not change with the batch it is generated in.
//
//	options.go        what is asked for, and what comes
//	engine.go         prompts in slots of a cache, one token for each in a pass
//	draw.go, ahead.go tokens from logits, on the host or on the device, which may be ahead of the host
//	sampling.go       the drawing itself
//	session.go        one growing text, such as a conversation
//	text.go           text as it comes, up to a stop string
package generate
