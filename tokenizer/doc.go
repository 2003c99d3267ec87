// Package tokenizer turns text into token ids and back.
//
// A [Tokenizer] comes from [Load] (a Hugging Face tokenizer.json, a SentencePiece model, or vocab.json with merges.txt) or from [Train], and
// goes back to disk with [Tokenizer.Save]. It is immutable and safe for concurrent use. Encoding finds added tokens, normalizes what
// is between, cuts it into words, and gives each word to the model: BPE, Unigram, WordPiece or WordLevel. Words repeat, so an
// [Encoder] remembers the ids of recent words; it belongs to one goroutine. Where cutting is one known pattern (GPT-2's, Llama 3's,
// Qwen 2's) or a cut at spaces, a short way does without lists of pieces.
//
// [Tokenizer.EncodeSpans] also tells which bytes of the text each token stands for.
//
// Ids are those of the reference library (tokenizers on PyPI) and, for SentencePiece models, of SentencePiece. Text is bytes: what is not
// valid UTF-8, which the references cannot take, counts byte by byte as neither letter, number nor space. A byte-level model gives
// the same bytes back; a model with byte fallback has a token for each such byte; others have their unknown token.
package tokenizer
