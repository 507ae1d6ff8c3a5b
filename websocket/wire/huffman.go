package wire

import "math/bits"

// maxCodeBits is the longest Huffman code of DEFLATE (RFC 1951 §3.2.7).
const maxCodeBits = 15

// entry says what the next bits of compressed data mean. Zero: they are no code.
//
//	bits  0-4   how many bits the code has; of a link, by how many its table is indexed
//	bits  5-7   literal, end of block, link; none of a length or a distance
//	bits  8-12  how many bits follow, to be added to the value
//	bits 16-31  the literal, the base of the length or distance, where the linked table begins
type entry uint32

const (
	entryBits entry = 0x1F
	literal   entry = 1 << 5
	endBlock  entry = 1 << 6
	link      entry = 1 << 7
)

func (e entry) size() uint  { return uint(e & entryBits) }
func (e entry) extra() uint { return uint(e>>8) & 31 }
func (e entry) value() int  { return int(e >> 16) }

// The tables are indexed by the next few bits. Codes that are longer go on in tables behind,
// which their entries link to. Each has room for the worst of all codes.
const (
	lengthIndex   = 9
	distanceIndex = 8
	codeIndex     = 7
)

type (
	lengthTable   [852]entry // for 286 symbols
	distanceTable [402]entry // for 32 symbols
	codeTable     [1 << codeIndex]entry
)

// What the symbols of the three alphabets mean (RFC 1951 §3.2.5, §3.2.7).
var (
	lengthSymbols   [288]entry
	distanceSymbols [32]entry
	codeSymbols     [19]entry

	fixedLengths   lengthTable // §3.2.6
	fixedDistances distanceTable
)

func init() {
	for i := range 256 {
		lengthSymbols[i] = literal | entry(i)<<16
	}
	lengthSymbols[256] = endBlock
	base := 3
	for i := range 28 {
		extra := max(i/4-1, 0)
		lengthSymbols[257+i] = entry(extra)<<8 | entry(base)<<16
		base += 1 << extra
	}
	lengthSymbols[285] = 258 << 16 // and 286 and 287 mean nothing
	base = 1
	for i := range 30 {
		extra := max(i/2-1, 0)
		distanceSymbols[i] = entry(extra)<<8 | entry(base)<<16
		base += 1 << extra
	}
	for i := range codeSymbols {
		codeSymbols[i] = literal | entry(i)<<16
	}

	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	makeTable(fixedLengths[:], lengthIndex, lengths[:], lengthSymbols[:])
	for i := range 32 {
		lengths[i] = 5
	}
	makeTable(fixedDistances[:], distanceIndex, lengths[:32], distanceSymbols[:])
}

// makeTable fills the table of the code in which symbol i has lengths[i] bits (RFC 1951 §3.2.2).
// It reports false if the lengths are those of no code, or leave some bits without a meaning,
// unless the code has but one symbol, or none.
func makeTable(table []entry, index uint, lengths []uint8, symbols []entry) bool {
	var count [maxCodeBits + 1]int
	for _, n := range lengths {
		count[n]++
	}
	free := 1
	var begin [maxCodeBits + 2]int // of the symbols with a code of that length, in sorted
	for n := 1; n <= maxCodeBits; n++ {
		if free = free<<1 - count[n]; free < 0 {
			return false
		}
		begin[n+1] = begin[n] + count[n]
	}
	if free > 0 {
		if used := begin[maxCodeBits+1]; used > 1 || used != count[1] {
			return false
		}
		clear(table[:1<<index])
	}
	var sorted [288]uint16
	for symbol, n := range lengths {
		if n > 0 {
			sorted[begin[n]] = uint16(symbol)
			begin[n]++
		}
	}

	code := uint(0)                          // bits in the order they are read: the first is the lowest
	primary := uint(1)<<index - 1            // mask of the bits that index the first table
	prefix, next := ^uint(0), int(primary)+1 // of the linked table, and where the one after it begins
	start, width := 0, uint(0)               // of the linked table
	symbol := 0                              // in sorted
	for n := uint(1); n <= maxCodeBits; n++ {
		for ; count[n] > 0; count[n]-- {
			e := symbols[sorted[symbol]]
			symbol++
			if e != 0 { // else the symbol means nothing
				e |= entry(n)
			}
			if n <= index {
				for at := code; at <= primary; at += 1 << n {
					table[at] = e
				}
			} else {
				if code&primary != prefix {
					prefix = code & primary
					start, width = next, tableWidth(&count, n, index)
					next += 1 << width
					table[prefix] = link | entry(width) | entry(start)<<16
				}
				for at := code >> index; at < 1<<width; at += 1 << (n - index) {
					table[start+int(at)] = e
				}
			}
			// The next code is one more, with its bits read from the other end.
			zeros := code ^ (1<<n - 1)
			if zeros == 0 {
				return true
			}
			bit := uint(1) << (bits.Len(zeros) - 1)
			code = code&(bit-1) | bit
		}
	}
	return true
}

// tableWidth gives by how many bits a linked table is indexed whose first code has n bits, with
// count of the codes that are still to come.
func tableWidth(count *[maxCodeBits + 1]int, n, index uint) uint {
	width := n - index
	for free := 1 << width; n < maxCodeBits; n++ {
		if free -= count[n]; free <= 0 {
			break
		}
		width++
		free <<= 1
	}
	return width
}
