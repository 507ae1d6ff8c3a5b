package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

const maxHeadBytes = 64 << 10

var errHead = errors.New("answer is not HTTP/1.1")

// part is what response.next has found.
type part int

const (
	partNone part = iota // more bytes are needed
	partHead             // the head is complete: status and fields are set
	partBody             // bytes of the body
	partEnd              // of the response; another may follow
)

// response takes HTTP/1.1 responses apart while they arrive, one after the
// other.
type response struct {
	status   int
	accept   string // Sec-WebSocket-Accept
	deflated bool   // permessage-deflate was agreed on

	keepsValidators bool
	validators      []byte // as fields that make the next request conditional

	held  []byte // a head or a line that is not complete
	where where
	left  int64 // of the body, or of a chunk
}

type where uint8

const (
	inHead      where = iota
	inBody            // of a length that is known
	inChunkSize       // and the same line after a chunk's bytes, which is empty
	inChunk
	inTrailer
	inStream // a body that ends with the connection
	atEnd
)

// next gives the next part of b, and what is behind it.
func (r *response) next(b []byte) (p part, body, rest []byte, err error) {
	for {
		switch r.where {
		case inHead:
			head, rest, ok := r.until(b, "\r\n\r\n")
			if !ok {
				return partNone, nil, nil, r.tooLong()
			}
			err := r.parse(head)
			return partHead, nil, rest, err
		case atEnd:
			r.where = inHead
			return partEnd, nil, b, nil
		case inChunkSize, inTrailer:
			line, rest, ok := r.until(b, "\r\n")
			if !ok {
				return partNone, nil, nil, r.tooLong()
			}
			b = rest
			if err := r.line(line); err != nil {
				return partNone, nil, nil, err
			}
		case inStream:
			if len(b) == 0 {
				return partNone, nil, nil, nil
			}
			return partBody, b, nil, nil
		default:
			n := min(int64(len(b)), r.left)
			if n == 0 {
				return partNone, nil, nil, nil
			}
			if r.left -= n; r.left == 0 {
				if r.where == inChunk {
					r.where = inChunkSize
				} else {
					r.where = atEnd
				}
			}
			return partBody, b[:n], b[n:], nil
		}
	}
}

// until gives what comes before end, from earlier pieces too. It holds until
// the next call.
func (r *response) until(b []byte, end string) (line, rest []byte, ok bool) {
	if len(r.held) == 0 {
		if i := bytes.Index(b, []byte(end)); i >= 0 {
			return b[:i], b[i+len(end):], true
		}
		r.held = append(r.held, b...)
		return nil, nil, false
	}
	before := len(r.held)
	r.held = append(r.held, b...)
	from := max(before-len(end)+1, 0) // end may have begun before b
	i := bytes.Index(r.held[from:], []byte(end))
	if i < 0 {
		return nil, nil, false
	}
	line = r.held[:from+i]
	rest = b[from+i+len(end)-before:]
	r.held = r.held[:0]
	return line, rest, true
}

func (r *response) tooLong() error {
	if len(r.held) > maxHeadBytes {
		return errHead
	}
	return nil
}

func (r *response) parse(head []byte) error {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " {
		return errHead
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return errHead
	}
	*r = response{status: status, held: r.held, where: inStream, keepsValidators: r.keepsValidators, validators: r.validators[:0]}
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if r.left, err = strconv.ParseInt(string(value), 10, 64); err != nil || r.left < 0 {
				return errHead
			}
			r.where = inBody
			if r.left == 0 {
				r.where = atEnd
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			if !bytes.EqualFold(value, []byte("chunked")) {
				return fmt.Errorf("transfer encoding %q", value)
			}
			r.where = inChunkSize
		case r.keepsValidators && bytes.EqualFold(name, []byte("ETag")):
			r.validators = fmt.Appendf(r.validators, "If-None-Match: %s\r\n", value)
		case r.keepsValidators && bytes.EqualFold(name, []byte("Last-Modified")):
			r.validators = fmt.Appendf(r.validators, "If-Modified-Since: %s\r\n", value)
		case bytes.EqualFold(name, []byte("Sec-WebSocket-Accept")):
			r.accept = string(value)
		case bytes.EqualFold(name, []byte("Sec-WebSocket-Extensions")):
			r.deflated = bytes.HasPrefix(value, []byte("permessage-deflate"))
		}
	}
	if status == 204 || status == 304 { // RFC 9112 §6.3: never have a body
		r.where = atEnd
	}
	return nil
}

// line takes a line of the chunked coding (RFC 9112 §7.1).
func (r *response) line(line []byte) error {
	if r.where == inTrailer {
		if len(line) == 0 {
			r.where = atEnd
		}
		return nil
	}
	if len(line) == 0 {
		return nil // the end of a chunk
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	size, err := strconv.ParseInt(string(bytes.TrimSpace(digits)), 16, 64)
	if err != nil || size < 0 {
		return fmt.Errorf("chunk size %q", line)
	}
	r.left, r.where = size, inChunk
	if size == 0 {
		r.where = inTrailer
	}
	return nil
}
