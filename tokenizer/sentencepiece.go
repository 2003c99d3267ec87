package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// Kinds of pieces of a SentencePiece model.
const (
	pieceNormal = iota + 1
	pieceUnknown
	pieceControl
	pieceUser
	pieceUnused
	pieceByte
)

// maxPiece bounds the bytes of a piece: setMerges looks at every cut of each, which of a hostile file's would take days, and a text is searched
// for the longest piece from every character on. SentencePiece's own trainer stops at 16 characters unless told otherwise.
const maxPiece = 1024

// spmFile is a SentencePiece model (tokenizer.model): the fields that decide ids. Field numbers are those of sentencepiece_model.proto
// (github.com/google/sentencepiece, src; Kudo, Richardson: SentencePiece, 2018, arXiv:1808.06226). The few messages are read by hand: a
// protobuf library would bring generated code and registration at start.
type spmFile struct {
	pieces        []spmPiece
	bpe           bool
	byteFallback  bool
	suffix        bool // treat_whitespace_as_suffix
	kind          uint64
	bos, eos, pad int32
	charsmap      []byte
	dummyPrefix   bool
	removeSpaces  bool // remove_extra_whitespaces
	escapeSpaces  bool
}

type spmPiece struct {
	text  string
	score float64
	kind  int
}

// parseSPM reads a ModelProto: pieces, trainer_spec and normalizer_spec.
func parseSPM(data []byte) (*spmFile, error) {
	// the defaults of the .proto, for fields that are left out
	f := &spmFile{kind: 1, bos: 1, eos: 2, pad: -1, dummyPrefix: true, removeSpaces: true, escapeSpaces: true}
	err := eachField(data, func(p protoField) error {
		switch p.number {
		case 1:
			return f.readPiece(p.bytes)
		case 2:
			return eachField(p.bytes, f.readTrainer)
		case 3:
			return eachField(p.bytes, f.readNormalizer)
		}
		return nil
	})
	if err == nil && len(f.pieces) == 0 {
		err = errors.New("not a SentencePiece model: it has no pieces")
	}
	return f, err
}

// readPiece reads one SentencePiece message: text, score and kind.
func (f *spmFile) readPiece(message []byte) error {
	piece := spmPiece{kind: pieceNormal}
	err := eachField(message, func(p protoField) error {
		switch p.number {
		case 1:
			piece.text = string(p.bytes)
		case 2:
			piece.score = p.float()
		case 3:
			piece.kind = int(p.value)
		}
		return nil
	})
	if err == nil && !utf8.ValidString(piece.text) {
		err = fmt.Errorf("piece %d is not UTF-8", len(f.pieces))
	}
	f.pieces = append(f.pieces, piece)
	return err
}

// readTrainer reads a field of TrainerSpec.
func (f *spmFile) readTrainer(p protoField) error {
	switch p.number {
	case 3:
		f.kind = p.value
	case 24:
		f.suffix = p.value != 0
	case 35:
		f.byteFallback = p.value != 0
	case 41:
		f.bos = p.int()
	case 42:
		f.eos = p.int()
	case 43:
		f.pad = p.int()
	}
	return nil
}

// readNormalizer reads a field of NormalizerSpec.
func (f *spmFile) readNormalizer(p protoField) error {
	switch p.number {
	case 2:
		f.charsmap = p.bytes
	case 3:
		f.dummyPrefix = p.value != 0
	case 4:
		f.removeSpaces = p.value != 0
	case 5:
		f.escapeSpaces = p.value != 0
	}
	return nil
}

// model converts the file. Save writes it as the reference's converter does.
func (f *spmFile) model() (model, error) {
	m := model{vocab: make(map[string]int32, len(f.pieces)), unkID: -1, fuseUnk: true, byteFallback: f.byteFallback, spm: f}
	switch {
	case f.kind == 2:
		m.kind, f.bpe = "BPE", true
	case f.kind == 1:
		m.kind = "Unigram"
	default:
		return m, errors.New("this SentencePiece model is of type word or char: only BPE and Unigram are supported")
	}
	if f.suffix || !f.escapeSpaces {
		return m, errors.New("SentencePiece's treat_whitespace_as_suffix and escape_whitespaces=false are not supported")
	}
	for id, p := range f.pieces {
		if err := f.addPiece(&m, int32(id), p); err != nil {
			return m, err
		}
	}
	if m.unkID < 0 {
		return m, errors.New("not a SentencePiece model: it has no unknown piece")
	}
	m.unk = f.pieces[m.unkID].text
	if f.bpe {
		f.setMerges(&m)
	}
	m.config = Config{BOS: f.name(f.bos), EOS: f.name(f.eos), PAD: f.name(f.pad), UNK: m.unk}
	return m, f.setParts(&m)
}

// name is the text of a piece, "" for ids such as -1, which say that there is none.
func (f *spmFile) name(id int32) string {
	if id < 0 || int(id) >= len(f.pieces) {
		return ""
	}
	return f.pieces[id].text
}

// addPiece adds a piece to the vocabulary. Control pieces become special tokens, which encoding never finds by itself; what users defined
// becomes added tokens, which it always finds.
func (f *spmFile) addPiece(m *model, id int32, p spmPiece) error {
	if other, twice := m.vocab[p.text]; twice || p.text == "" {
		return fmt.Errorf("piece %d (%q) is empty or the same as piece %d", id, p.text, other)
	}
	if len(p.text) > maxPiece {
		return fmt.Errorf("piece %d has %d bytes, more than the %d that a piece may have", id, len(p.text), maxPiece)
	}
	m.vocab[p.text] = id
	if !f.bpe {
		m.names, m.scores = append(m.names, p.text), append(m.scores, p.score)
	}
	switch p.kind {
	case pieceUnknown:
		m.unkID = id
		m.added = append(m.added, AddedToken{ID: id, Content: p.text, Special: true})
	case pieceControl:
		m.added = append(m.added, AddedToken{ID: id, Content: p.text, Special: true})
	case pieceUser:
		m.added = append(m.added, AddedToken{ID: id, Content: p.text, Normalized: true})
	case pieceUnused:
		return fmt.Errorf("piece %d (%q) is marked unused, which is not supported", id, p.text)
	case pieceNormal, pieceByte:
	default:
		return fmt.Errorf("piece %d (%q) is of the unknown type %d", id, p.text, p.kind)
	}
	return nil
}

// setMerges lists the pairs of pieces that make a piece; the piece with the best score is made first.
func (f *spmFile) setMerges(m *model) {
	order := make([]int, len(f.pieces))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(f.pieces[b].score, f.pieces[a].score) })
	rank, last := int32(-1), 0.0
	for _, id := range order {
		p := f.pieces[id]
		if p.kind != pieceNormal {
			continue
		}
		if rank < 0 || p.score != last {
			rank, last = rank+1, p.score
		}
		// the file does not say of which pieces a piece was made, so every cut of it is a merge, as in transformers' converter
		for i := range p.text {
			left, ok := m.vocab[p.text[:i]]
			right, ok2 := m.vocab[p.text[i:]]
			if ok && ok2 && f.pieces[left].kind == pieceNormal && f.pieces[right].kind == pieceNormal {
				m.merges = append(m.merges, [2]string{p.text[:i], p.text[i:]})
				m.ranks = append(m.ranks, rank)
			}
		}
	}
}

// setParts describes the components in the terms of tokenizer.json.
func (f *spmFile) setParts(m *model) error {
	var normalizers []object
	if len(f.charsmap) > 0 {
		normalizers = append(normalizers, object{{"type", "Precompiled"}, {"precompiled_charsmap", base64.StdEncoding.EncodeToString(f.charsmap)}})
	}
	if f.removeSpaces {
		for _, r := range [][2]string{{"^ +| +$", ""}, {" {2,}", " "}} {
			normalizers = append(normalizers, object{{"type", "Replace"}, {"pattern", object{{"Regex", r[0]}}}, {"content", r[1]}})
		}
	}
	if f.dummyPrefix {
		normalizers = append(normalizers, object{{"type", "Prepend"}, {"prepend", mark}})
	}
	normalizers = append(normalizers, object{{"type", "Replace"}, {"pattern", object{{"String", " "}}}, {"content", mark}})
	decoders := []object{
		{{"type", "Replace"}, {"pattern", object{{"String", mark}}}, {"content", " "}}, {{"type", "ByteFallback"}}, {{"type", "Fuse"}},
	}
	if f.dummyPrefix {
		decoders = append(decoders, object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}})
	}
	var err, err2 error
	m.parts.normalizer, err = object{{"type", "Sequence"}, {"normalizers", normalizers}}.MarshalJSON()
	m.parts.decoder, err2 = object{{"type", "Sequence"}, {"decoders", decoders}}.MarshalJSON()
	return errors.Join(err, err2)
}

// normalizers are those of SentencePiece itself, which differ from the reference's in small things: the longest replacement of the charsmap
// counts, and only the start of a text gets a space.
func (f *spmFile) normalizers() ([]normalizer, error) {
	clean := &spmNormalizer{removeSpaces: f.removeSpaces}
	if len(f.charsmap) > 0 {
		p, err := newPrecompiled(f.charsmap, 0)
		if err != nil {
			return nil, fmt.Errorf("normalizer_spec: %w", err)
		}
		clean.charsmap = p.(*precompiled)
	}
	out := []normalizer{clean}
	if f.dummyPrefix {
		out = append(out, prepend{slot: 1, text: []byte(mark), once: true})
	}
	return append(out, replace{2, literal{[]byte(" ")}, []byte(mark)}), nil
}

// spmNormalizer applies the charsmap and, where asked, collapses and trims spaces.
type spmNormalizer struct {
	charsmap     *precompiled // nil for none
	removeSpaces bool
}

// normalize looks at what was written, not at what was read, to collapse spaces: the charsmap makes spaces of other characters.
func (n *spmNormalizer) normalize(e *Encoder, c chunk) chunk {
	if n.charsmap == nil && !n.removeSpaces {
		return c
	}
	// normalizer.cc, Normalizer::Normalize
	d := e.edit(0, c)
	space := n.removeSpaces // what was written last is a space, or nothing was written
	for i := 0; i < len(c.text); {
		text, size := n.prefix(c.text[i:])
		for space && len(text) > 0 && text[0] == ' ' {
			text = text[1:]
		}
		d.put(i+size, text)
		if len(text) > 0 {
			space = n.removeSpaces && text[len(text)-1] == ' '
		}
		i += size
	}
	out := d.done()
	if n.removeSpaces { // at the end the visible space counts too, wherever it is from
		rest := bytes.TrimRight(out.text, " ")
		for bytes.HasSuffix(rest, []byte(mark)) {
			rest = bytes.TrimRight(rest[:len(rest)-len(mark)], " ")
		}
		out = out.slice(0, len(rest))
	}
	return out
}

// prefix returns what stands for the start of text, and the length of that start.
func (n *spmNormalizer) prefix(text []byte) (to []byte, size int) {
	if n.charsmap != nil && !n.charsmap.never[text[0]] {
		if to, size = n.charsmap.longest(text); size > 0 {
			return to, size
		}
	}
	_, size = utf8.DecodeRune(text)
	return text[:size], size
}

var errProtobuf = errors.New("not a SentencePiece model: its fields are cut short or damaged")

// protoField is one field of a protobuf message.
type protoField struct {
	number int
	value  uint64 // varint, or the bits of a fixed-size value
	bytes  []byte // of a length-delimited value: a part of the message, not a copy
}

// float reads a float field.
func (f protoField) float() float64 { return float64(math.Float32frombits(uint32(f.value))) }

// int reads an int32 field, which may be negative.
func (f protoField) int() int32 { return int32(f.value) }

// eachField calls yield for each field of a message. Every length is held against the bytes that are left.
func eachField(message []byte, yield func(protoField) error) error {
	for len(message) > 0 {
		key, n := binary.Uvarint(message)
		if n <= 0 || key>>3 == 0 || key>>3 > 1<<29 {
			return errProtobuf
		}
		message = message[n:]
		f := protoField{number: int(key >> 3)}
		switch key & 7 {
		case 0:
			if f.value, n = binary.Uvarint(message); n <= 0 {
				return errProtobuf
			}
		case 1:
			if n = 8; len(message) < n {
				return errProtobuf
			}
			f.value = binary.LittleEndian.Uint64(message)
		case 2:
			size, used := binary.Uvarint(message)
			if used <= 0 || size > uint64(len(message)-used) {
				return errProtobuf
			}
			n = used + int(size)
			f.bytes = message[used:n]
		case 5:
			if n = 4; len(message) < n {
				return errProtobuf
			}
			f.value = uint64(binary.LittleEndian.Uint32(message))
		default:
			return errProtobuf
		}
		message = message[n:]
		if err := yield(f); err != nil {
			return err
		}
	}
	return nil
}
