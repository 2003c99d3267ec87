// Package tokenizer turns text into token ids and back, with byte-level byte-pair encoding (BPE).
//
// A [Tokenizer] comes from [Load] (a Hugging Face tokenizer.json) or from [Train], and goes back to disk with [Tokenizer.Save].
// It is immutable and safe for concurrent use. Encoding has two steps: a pattern cuts the text into words (GPT-2's and Llama 3's
// patterns are hand-written scanners, others run on a regular expression engine), then each word's bytes are merged pair by pair,
// lowest rank first. Words repeat, so an [Encoder] remembers the ids of recent words; it belongs to one goroutine.
//
// Ids are those of the reference library (tokenizers on PyPI). Text is bytes: what is not valid UTF-8, which the reference cannot
// take, counts byte by byte as neither letter, number nor space, and Decode gives the same bytes back.
package tokenizer
