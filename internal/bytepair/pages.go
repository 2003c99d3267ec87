package bytepair

// Pages maps every code point to a byte, in pages of 256 of them; equal pages are there once. Add and Share come before Of.
type Pages struct {
	page  [0x110000 >> 8]uint16 // code point >> 8 -> index into pages
	pages [][256]uint8
}

// Add sets bits for the characters of ranges, pairs of a first and a last one.
func (p *Pages) Add(ranges []uint32, bits uint8) {
	if p.pages == nil {
		p.pages = make([][256]uint8, 1, 256) // page 0 stays all 0
	}
	for i := 0; i < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			at := &p.page[r>>8]
			if *at == 0 {
				*at = uint16(len(p.pages))
				p.pages = append(p.pages, [256]uint8{})
			}
			p.pages[*at][r&255] |= bits
		}
	}
}

// Share keeps one copy of equal pages, as whole blocks of ideographs are one page of letters. Nothing may be added after it.
func (p *Pages) Share() {
	first := make(map[[256]uint8]uint16)
	pages := p.pages
	p.pages = nil
	for i, at := range p.page {
		n, ok := first[pages[at]]
		if !ok {
			n = uint16(len(p.pages))
			first[pages[at]] = n
			p.pages = append(p.pages, pages[at])
		}
		p.page[i] = n
	}
}

// Of is the byte of a character.
func (p *Pages) Of(r rune) uint8 { return p.pages[p.page[uint32(r)>>8]][uint8(r)] }
