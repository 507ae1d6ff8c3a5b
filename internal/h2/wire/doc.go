// Package wire is the server's side of HTTP/2 (RFC 9113) without a network, a
// clock or a goroutine: bytes of the peer in, events and bytes for the peer
// out.
//
// A [Machine] is one connection. [Machine.Receive] takes what has arrived, in
// pieces of any size, and calls [Events]. What is to be sent gathers in
// [Machine.Out]: answers by themselves, the rest by the methods that send.
// Nothing is kept for a peer that is slow to read: [Machine.Offer] takes of an
// answer's body what the windows and Out have room for, and [Machine.Fill]
// later asks those who could not give all, in the order of their priorities
// (RFC 9218).
//
// A Machine is not safe for concurrent use.
package wire
