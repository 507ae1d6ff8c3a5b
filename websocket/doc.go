// Package websocket is the WebSocket protocol (RFC 6455) for servers and clients: strict, fast
// and small. Beside the standard library it needs golang.org/x/sys, and a compressor, of
// github.com/klauspost/compress.
//
// A server calls [Accept] in an HTTP handler, a client calls [Dial]; both get a [Conn]. What
// holds for it:
//
//   - Any goroutine may call any method at any time.
//   - No goroutine runs for a connection, unless [Keepalive] is asked for. Pings and closes are answered
//     by whoever reads. An idle plain connection borrows no buffer.
//   - Memory follows the bytes that have arrived, never a length that the peer announced.
//   - A context bounds a call. If it ends before a message was begun, the connection stays
//     usable; in the middle of one, it is lost.
//   - Errors after the end of a connection match [net.ErrClosed]. The end by a close frame is a
//     [*CloseError].
//
// A [Server] runs connections by events instead: a [Handler] is told of messages, and on Linux a
// plain TCP connection at rest has neither a goroutine nor a buffer. A [Group] shuts down the
// connections of a server, of either kind.
//
// A message for many connections is framed once, by [Prepare] or [AppendMessage], and its bytes
// are shared: see [Conn.WriteFrames]. If connections use [Compression] (RFC 7692), it is compressed
// once for all that take the same [FrameForm].
//
// A connection may also be one of many streams of an HTTP/2 connection (RFC 8441): package h2 has
// servers offer it, [DialOptions].HTTP2 is for clients. Of HTTP/3 (RFC 9220) it may be one where the
// server's and the client's program bring QUIC: see [DialOptions].HTTP3. Each read that waits has a
// goroutine then.
//
// The protocol itself, without I/O, is package wire.
package websocket
