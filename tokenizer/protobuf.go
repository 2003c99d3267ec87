package tokenizer

import (
	"encoding/binary"
	"errors"
	"math"
)

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
