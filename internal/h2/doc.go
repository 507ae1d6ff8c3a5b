// Package h2 is an HTTP/2 server (RFC 9113) for the handlers of net/http, which
// serves what only waits at a small price.
//
// [Configure] has an [http.Server] leave its HTTP/2 connections to a [Server].
// Handlers see what they see of net/http's own server, WebSockets (RFC 8441),
// pushes and priorities (RFC 9218) included. What differs:
//
//   - An answer may go on without its handler: see [Take]. A stream then costs
//     a few hundred bytes, and what several streams of a connection are given
//     at a time leaves in one write: see [Stream.Write].
//   - Plain TCP connections under Linux are driven by internal/poller, and have
//     no goroutine of their own.
//   - What a handler has written when it returns is sent without it.
//   - A write that does not move for Options.WriteTimeout resets its stream.
//
// The protocol itself, and its limits, are package wire's.
package h2
