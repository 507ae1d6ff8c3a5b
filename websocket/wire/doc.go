// Package wire is the WebSocket protocol (RFC 6455) as values: bytes go in, events and bytes come
// out. It knows no socket, clock, lock or goroutine, so that every connection, whatever drives
// it, runs the same protocol, and so that all of it can be tested and fuzzed without I/O.
//
// A [Machine] reads one direction of a connection. It hands out the chunks of messages as they
// arrive, so memory is bounded by the caller's read buffer and never by a length that the peer
// announced. Anything the RFC forbids ends it with a [*Fault], which carries the close code to
// send.
//
// The other direction is a matter of appending: [AppendFrame], [AppendMaskedFrame] and
// [AppendClose] extend a slice of the caller's.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R|       |M| 0-125       | 126: 16 bits of length        |
//	|I|S|S|S|opcode |A| 126         | 127: 64 bits, the top one 0   |
//	|N|V|V|V|       |S| 127         |                               |
//	| |1|2|3|       |K|             |                               |
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	| 4 bytes of masking key, if MASK | payload                     |
//	+---------------------------------------------------------------+
package wire
