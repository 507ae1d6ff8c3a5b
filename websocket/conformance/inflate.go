package conformance

import (
	"errors"
	"fmt"
)

// errShort means that compressed data ends within a block.
var errShort = errors.New("compressed data that ends too early")

// inflate gives the message that data is the compressed form of (RFC 7692 §7.2.2), which may refer
// to history. Unlike package flate it sees when data refers further back than window.
func inflate(data, history []byte, window int) ([]byte, error) {
	z := inflation{
		in:     append(append([]byte(nil), data...), 0x00, 0x00, 0xff, 0xff),
		out:    append([]byte(nil), history...),
		window: window,
	}
	for z.at < len(z.in) {
		if err := z.block(); err != nil {
			return nil, err
		}
	}
	return z.out[len(history):], nil
}

// inflation decodes blocks as RFC 1951 §3.2.3 describes them.
type inflation struct {
	in     []byte
	at     int  // in in
	bit    uint // of in[at]
	out    []byte
	window int
}

func (z *inflation) bits(n int) (v int, err error) {
	for i := range n {
		if z.at >= len(z.in) {
			return 0, errShort
		}
		v |= int(z.in[z.at]>>z.bit&1) << i
		if z.bit++; z.bit == 8 {
			z.at, z.bit = z.at+1, 0
		}
	}
	return v, nil
}

// align goes to the next byte.
func (z *inflation) align() {
	if z.bit > 0 {
		z.at, z.bit = z.at+1, 0
	}
}

func (z *inflation) block() error {
	final, err := z.bits(1)
	if err != nil {
		return err
	}
	kind, err := z.bits(2)
	if err != nil {
		return err
	}
	switch kind {
	case 0:
		err = z.stored()
	case 1:
		err = z.huffman(fixedLiterals, fixedDistances)
	case 2:
		err = z.dynamic()
	default:
		err = errors.New("a compressed block of type 3")
	}
	if final == 1 {
		z.align() // RFC 7692 §7.2.1: padded, and other blocks may follow
	}
	return err
}

func (z *inflation) stored() error {
	z.align()
	if len(z.in)-z.at < 4 {
		return errShort
	}
	head := z.in[z.at : z.at+4]
	if head[0] != ^head[2] || head[1] != ^head[3] {
		return errors.New("a stored block whose lengths differ")
	}
	length := int(head[0]) | int(head[1])<<8
	z.at += 4
	if len(z.in)-z.at < length {
		return errShort
	}
	z.out = append(z.out, z.in[z.at:z.at+length]...)
	z.at += length
	return nil
}

// code is a Huffman code: how many symbols have each length, and the symbols in their order.
type code struct {
	counts  [16]int
	symbols []int
}

func newCode(lengths []int) *code {
	c := &code{}
	for length := 1; length < len(c.counts); length++ {
		for symbol, l := range lengths {
			if l == length {
				c.counts[length]++
				c.symbols = append(c.symbols, symbol)
			}
		}
	}
	return c
}

func (z *inflation) symbol(c *code) (int, error) {
	value, first, index := 0, 0, 0
	for length := 1; length < len(c.counts); length++ {
		bit, err := z.bits(1)
		if err != nil {
			return 0, err
		}
		value |= bit
		if count := c.counts[length]; value-first < count {
			return c.symbols[index+value-first], nil
		}
		index += c.counts[length]
		first = (first + c.counts[length]) << 1
		value <<= 1
	}
	return 0, errors.New("a Huffman code that does not exist")
}

// RFC 1951 §3.2.5.
var (
	lengthBase   = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra  = []int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
		8193, 12289, 16385, 24577}
)

// The fixed codes of RFC 1951 §3.2.6.
var (
	fixedLiterals  = newCode(runs(144, 8, 112, 9, 24, 7, 8, 8))
	fixedDistances = newCode(runs(30, 5))
)

// runs gives so many of each length.
func runs(pairs ...int) (lengths []int) {
	for i := 0; i < len(pairs); i += 2 {
		for range pairs[i] {
			lengths = append(lengths, pairs[i+1])
		}
	}
	return lengths
}

func (z *inflation) huffman(literals, distances *code) error {
	for {
		symbol, err := z.symbol(literals)
		switch {
		case err != nil:
			return err
		case symbol < 256:
			z.out = append(z.out, byte(symbol))
			continue
		case symbol == 256:
			return nil
		case symbol-257 >= len(lengthBase):
			return fmt.Errorf("a length code %d", symbol)
		}
		extra, err := z.bits(lengthExtra[symbol-257])
		if err != nil {
			return err
		}
		length := lengthBase[symbol-257] + extra
		if err := z.copy(distances, length); err != nil {
			return err
		}
	}
}

func (z *inflation) copy(distances *code, length int) error {
	symbol, err := z.symbol(distances)
	if err != nil {
		return err
	}
	extra, err := z.bits(max(symbol/2-1, 0))
	if err != nil {
		return err
	}
	distance := distanceBase[symbol] + extra
	if distance > len(z.out) {
		return fmt.Errorf("a reference %d bytes back, before the beginning of what it may know", distance)
	}
	if distance > z.window {
		return fmt.Errorf("a reference %d bytes back, out of a window of %d", distance, z.window)
	}
	for range length {
		z.out = append(z.out, z.out[len(z.out)-distance])
	}
	return nil
}

// dynamic reads the codes of RFC 1951 §3.2.7.
func (z *inflation) dynamic() error {
	var counts [3]int
	for i, n := range []int{5, 5, 4} {
		v, err := z.bits(n)
		if err != nil {
			return err
		}
		counts[i] = v
	}
	literals, distances := counts[0]+257, counts[1]+1
	if literals > 286 || distances > 30 {
		return errors.New("too many Huffman codes")
	}
	lengths := make([]int, 19)
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:counts[2]+4] {
		v, err := z.bits(3)
		if err != nil {
			return err
		}
		lengths[i] = v
	}
	all, err := z.codeLengths(newCode(lengths), literals+distances)
	if err != nil {
		return err
	}
	return z.huffman(newCode(all[:literals]), newCode(all[literals:]))
}

func (z *inflation) codeLengths(c *code, n int) (lengths []int, err error) {
	for len(lengths) < n {
		symbol, err := z.symbol(c)
		if err != nil {
			return nil, err
		}
		if symbol < 16 {
			lengths = append(lengths, symbol)
			continue
		}
		bits, least, value := 2, 3, 0
		switch symbol {
		case 16:
			if len(lengths) == 0 {
				return nil, errors.New("a code length that repeats nothing")
			}
			value = lengths[len(lengths)-1]
		case 17:
			bits = 3
		case 18:
			bits, least = 7, 11
		}
		extra, err := z.bits(bits)
		if err != nil {
			return nil, err
		}
		lengths = append(lengths, runs(least+extra, value)...)
	}
	if len(lengths) > n {
		return nil, errors.New("code lengths that run over")
	}
	return lengths, nil
}
