package data

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// ratioStart is how much a file may unpack to before its ratio is looked at: small files of one letter are no attack.
const ratioStart = 64 << 20

// zstdMemory bounds the window a zstd file may ask for. The zstd program makes such files only with --long above 27.
const zstdMemory = 256 << 20

// unpack reads r through the packing ".gz", ".zst" or none. What it returns fails once the unpacked size is beyond maxRatio
// times the packed bytes read so far.
func unpack(r io.Reader, packing string, maxRatio int) (io.Reader, func(), error) {
	if packing == "" {
		return r, func() {}, nil
	}
	in := &countingReader{r: r}
	var out io.Reader
	done := func() {}
	switch packing {
	case ".gz":
		buffered := bufio.NewReader(in)
		gz, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, unpackError(err)
		}
		gz.Multistream(false)
		out = &members{gz, buffered}
	case ".zst":
		// Decoded where it is read, without goroutines of its own: what is done with the documents keeps the cores busy.
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdMemory), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, unpackError(err)
		}
		out, done = z, z.Close
	default:
		panic("data: unknown packing " + packing)
	}
	return &ratioReader{in: in, out: out, limit: int64(maxRatio)}, done, nil
}

func unpackError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the compressed file is cut short")
	}
	return fmt.Errorf("the compressed file cannot be unpacked: %w", err)
}

// members reads the members of a gzip file one after the other. Zeros behind a member, with which tapes and block devices fill their last block, are nothing,
// as for the gzip program; the package's own reader takes them for a damaged member.
type members struct {
	gz *gzip.Reader
	in *bufio.Reader // of gz
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.gz.Read(p)
		if err == io.EOF {
			err = m.next()
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// next goes to the next member, io.EOF when there is none.
func (m *members) next() error {
	for {
		b, err := m.in.ReadByte()
		if err != nil {
			return err
		}
		if b == 0 {
			continue
		}
		if err := m.in.UnreadByte(); err != nil {
			return err
		}
		if err := m.gz.Reset(m.in); err != nil {
			return err
		}
		m.gz.Multistream(false)
		return nil
	}
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type ratioReader struct {
	in    *countingReader
	out   io.Reader
	n     int64
	limit int64
}

func (r *ratioReader) Read(p []byte) (int, error) {
	n, err := r.out.Read(p)
	r.n += int64(n)
	// A quotient, as the product of limit and in.n might overflow. in.n runs ahead of what was unpacked by what decoders buffer, which only lets a little more pass.
	if r.n > ratioStart && r.n/r.limit > r.in.n {
		return n, fmt.Errorf("unpacks to more than %d times its size; if that is no attack, unpack it yourself", r.limit)
	}
	if err != nil && err != io.EOF {
		err = unpackError(err)
	}
	return n, err
}
