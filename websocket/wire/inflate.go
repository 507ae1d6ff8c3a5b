package wire

import "encoding/binary"

const (
	// MinWindowBits and MaxWindowBits bound the LZ77 window of permessage-deflate, as base-2
	// logarithms of its bytes (RFC 7692 §7.1.2).
	MinWindowBits = 8
	MaxWindowBits = 15

	maxWindow = 1 << MaxWindowBits
)

// Inflater is the memory that a [Machine] needs while it reads a compressed message: about 70 KiB,
// ready without initialisation, and of no use for anything else. See [Inflation].
//
// It decodes DEFLATE (RFC 1951) from input that may end anywhere, without waiting for more than
// it needs and without reading any of it twice.
type Inflater struct {
	step   inflateStep
	final  bool   // the block says that it is the last (BFINAL)
	held   uint64 // bits taken from the input, the next one lowest
	count  uint   // of bits in held
	window int    // the longest distance

	length   int // still to be copied: of a stored block, or from distance
	distance int

	lengthCodes   int // of the code that describes the others, then of the code for lengths
	distanceCodes int
	read          int // lengths of codes read so far

	lengths   *lengthTable // of the block
	distances *distanceTable

	at  int                 // end of what is inflated, in out
	out [2 * maxWindow]byte // begins with at most a window of what came before

	ownLengths   lengthTable
	ownDistances distanceTable
	codes        codeTable
	codeLengths  [19]uint8
	symbolBits   [286 + 30]uint8
}

// inflateStep is what comes next in the input.
type inflateStep uint8

const (
	blockHeader  inflateStep = iota
	storedLength             // of a block without compression
	storedBytes
	codeCounts // of a block with codes of its own, and what follows in it
	codeLengths
	symbolLengths
	symbols
)

// inflateStop is why a step ended.
type inflateStop uint8

const (
	goOn    inflateStop = iota
	starved             // all input is used up
	full                // there is no room for output
	invalid
)

// begin makes z ready for a message, which may refer to what is in history.
func (z *Inflater) begin(window int, history []byte) {
	z.step, z.final, z.held, z.count, z.length = blockHeader, false, 0, 0, 0
	z.window = window
	z.at = copy(z.out[:], history)
}

// recent gives what a message to come may refer to, at most a window.
func (z *Inflater) recent() []byte { return z.out[max(z.at-z.window, 0):z.at] }

// complete reports whether a message may end here. The sender takes the last four bytes of its
// data away, 00 00 ff ff (RFC 7692 §7.2.1): they are the length of an empty block without
// compression. So a message ends exactly where that is to come.
func (z *Inflater) complete() bool { return z.step == storedLength && z.count == 0 }

// full reports whether there may be more output without any more input.
func (z *Inflater) full() bool { return z.at == len(z.out) }

// inflate decodes from src, and gives the number of bytes used. It stops when out is full, else
// it uses all of src. The output holds until the next call.
func (z *Inflater) inflate(src []byte) (out []byte, n int, ok bool) {
	if z.full() {
		z.at = copy(z.out[:], z.recent())
	}
	start := z.at
	stop := goOn
	for stop == goOn {
		switch z.step {
		case blockHeader:
			n, stop = z.header(src, n)
		case storedLength:
			n, stop = z.storedHeader(src, n)
		case storedBytes:
			n, stop = z.stored(src, n)
		case codeCounts:
			n, stop = z.counts(src, n)
		case codeLengths:
			n, stop = z.codeCode(src, n)
		case symbolLengths:
			n, stop = z.symbolCodes(src, n)
		case symbols:
			n, stop = z.symbols(src, n)
		}
	}
	return z.out[start:z.at], n, stop != invalid
}

// need takes bytes from src[n:] until size bits, at most 48, are held, and reports whether there
// are as many.
func (z *Inflater) need(size uint, src []byte, n int) (int, bool) {
	for z.count < size {
		if n == len(src) {
			return n, false
		}
		z.held |= uint64(src[n]) << z.count
		z.count += 8
		n++
	}
	return n, true
}

// take gives the next bits, which have to be held.
func (z *Inflater) take(size uint) int {
	value := z.held & (1<<size - 1)
	z.held >>= size
	z.count -= size
	return int(value)
}

// header reads the three bits that begin a block (RFC 1951 §3.2.3).
func (z *Inflater) header(src []byte, n int) (int, inflateStop) {
	n, ok := z.need(3, src, n)
	if !ok {
		return n, starved
	}
	z.final = z.take(1) == 1
	switch z.take(2) {
	case 0:
		z.take(z.count % 8)
		z.step = storedLength
	case 1:
		z.lengths, z.distances = &fixedLengths, &fixedDistances
		z.step = symbols
	case 2:
		z.step = codeCounts
	default:
		return n, invalid
	}
	return n, goOn
}

// endOfBlock goes on with the next block. RFC 7692 §7.2.1: one may follow a block that says it is
// the last, after "minimal padding bits of 0".
func (z *Inflater) endOfBlock() {
	if z.final {
		z.take(z.count % 8)
	}
	z.step = blockHeader
}

func (z *Inflater) storedHeader(src []byte, n int) (int, inflateStop) {
	n, ok := z.need(32, src, n)
	if !ok {
		return n, starved
	}
	z.length = z.take(16)
	if z.take(16) != z.length^0xFFFF {
		return n, invalid
	}
	z.step = storedBytes
	return n, goOn
}

func (z *Inflater) stored(src []byte, n int) (int, inflateStop) {
	for z.length > 0 && z.count > 0 && !z.full() { // whole bytes, taken ahead
		z.out[z.at] = byte(z.take(8))
		z.at++
		z.length--
	}
	if z.count == 0 {
		copied := copy(z.out[z.at:], src[n:min(len(src), n+z.length)])
		z.at += copied
		z.length -= copied
		n += copied
	}
	switch {
	case z.length == 0:
		z.endOfBlock()
		return n, goOn
	case z.full():
		return n, full
	}
	return n, starved
}

// counts begins a block with codes of its own (RFC 1951 §3.2.7).
func (z *Inflater) counts(src []byte, n int) (int, inflateStop) {
	n, ok := z.need(14, src, n)
	if !ok {
		return n, starved
	}
	z.lengthCodes = 257 + z.take(5)
	z.distanceCodes = 1 + z.take(5)
	if z.lengthCodes > 286 || z.distanceCodes > 30 {
		return n, invalid
	}
	z.read = 4 + z.take(4)
	z.codeLengths = [19]uint8{}
	z.length = 0
	z.step = codeLengths
	return n, goOn
}

var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// codeCode reads the code in which the lengths of the other codes are given.
func (z *Inflater) codeCode(src []byte, n int) (int, inflateStop) {
	for ; z.length < z.read; z.length++ {
		var ok bool
		if n, ok = z.need(3, src, n); !ok {
			return n, starved
		}
		z.codeLengths[codeOrder[z.length]] = uint8(z.take(3))
	}
	if !makeTable(z.codes[:], codeIndex, z.codeLengths[:], codeSymbols[:]) {
		return n, invalid
	}
	z.length, z.read = 0, 0
	z.step = symbolLengths
	return n, goOn
}

// symbolCodes reads the lengths of the codes, and makes their tables.
func (z *Inflater) symbolCodes(src []byte, n int) (int, inflateStop) {
	all := z.symbolBits[:z.lengthCodes+z.distanceCodes]
	for z.read < len(all) {
		n, _ = z.need(codeIndex+7, src, n) // the most that one takes
		e := z.codes[z.held%(1<<codeIndex)]
		if e == 0 && z.count >= codeIndex {
			return n, invalid
		}
		if e == 0 || e.size() > z.count {
			return n, starved // what was looked up has bits that are not there yet
		}
		var extra uint
		var value uint8 // to be repeated
		repeat := 1
		switch symbol := e.value(); symbol {
		case 16:
			extra, repeat = 2, 3
			if z.read == 0 {
				return n, invalid
			}
			value = all[z.read-1]
		case 17:
			extra, repeat = 3, 3
		case 18:
			extra, repeat = 7, 11
		default:
			value = uint8(symbol)
		}
		if e.size()+extra > z.count {
			return n, starved
		}
		z.take(e.size())
		if repeat += z.take(extra); repeat > len(all)-z.read {
			return n, invalid
		}
		for range repeat {
			all[z.read] = value
			z.read++
		}
	}
	if all[256] == 0 || // such a block has no end
		!makeTable(z.ownLengths[:], lengthIndex, all[:z.lengthCodes], lengthSymbols[:]) ||
		!makeTable(z.ownDistances[:], distanceIndex, all[z.lengthCodes:], distanceSymbols[:]) {
		return n, invalid
	}
	z.lengths, z.distances = &z.ownLengths, &z.ownDistances
	z.step = symbols
	return n, goOn
}

// symbols decodes a block until its end. A length and its distance have at most 15+5+15+13 = 48
// bits; what is not there completely is left where it is, in held.
func (z *Inflater) symbols(src []byte, n int) (int, inflateStop) {
	if z.length > 0 && !z.copyMatch() {
		return n, full
	}
	held, count := z.held, z.count
	lengths, distances := z.lengths, z.distances
	at := uint(z.at)
	stop := goOn
	for stop == goOn {
		if count < 48 {
			if len(src)-n >= 8 {
				// Bits above count are those that the next time adds again.
				held |= binary.LittleEndian.Uint64(src[n:]) << (count & 63)
				n += int(63-count) >> 3
				count |= 56
			} else {
				for count < 56 && n < len(src) {
					held |= uint64(src[n]) << (count & 63)
					count += 8
					n++
				}
			}
		}
		e := lengths[held%(1<<lengthIndex)]
		if e&link != 0 {
			e = lengths[e.value()+int(held>>lengthIndex&(1<<e.size()-1))]
		}
		size := e.size()
		if size > count || e == 0 {
			stop = stopAt(e, count)
			break
		}
		if e&literal != 0 {
			if at >= uint(len(z.out)) {
				stop = full
				break
			}
			z.out[at] = byte(e >> 16)
			at++
			held >>= size
			count -= size
			continue
		}
		if e&endBlock != 0 {
			held >>= size
			count -= size
			break
		}
		rest := held >> size
		extra := e.extra()
		length := e.value() + int(rest&(1<<extra-1))
		rest >>= extra
		size += extra
		d := distances[rest%(1<<distanceIndex)]
		if d&link != 0 {
			d = distances[d.value()+int(rest>>distanceIndex&(1<<d.size()-1))]
		}
		if size > count || d == 0 {
			stop = stopAt(d, count-min(size, count))
			break
		}
		rest >>= d.size()
		extra = d.extra()
		size += d.size() + extra
		if size > count {
			stop = starved
			break
		}
		distance := d.value() + int(rest&(1<<extra-1))
		if distance > min(int(at), z.window) {
			stop = invalid // also what the peer promised not to reach for (RFC 7692 §7.1.2)
			break
		}
		held >>= size
		count -= size
		z.at, z.length, z.distance = int(at), length, distance
		if !z.copyMatch() {
			stop = full
		}
		at = uint(z.at)
	}
	z.held, z.count, z.at = held&(1<<count-1), count, int(at)
	if stop == goOn {
		z.endOfBlock()
	}
	return n, stop
}

// stopAt tells bits that are no code from those that may become one.
func stopAt(e entry, count uint) inflateStop {
	if e == 0 && count >= maxCodeBits {
		return invalid
	}
	return starved
}

// copyMatch repeats what is distance bytes back, and reports whether there was room for all of
// it.
func (z *Inflater) copyMatch() bool {
	end := min(z.at+z.length, len(z.out))
	z.length -= end - z.at
	from := z.at - z.distance
	for z.at < end { // what is repeated may be longer than what is there
		z.at += copy(z.out[z.at:end], z.out[from:z.at])
	}
	return z.length == 0
}
