// Package conformance judges WebSocket implementations by RFC 6455 and RFC 7692, in whatever
// language and role: it talks to them over TCP and shares no code with any of them.
//
// The cases are data, in cases/*.json; README.md describes their format. [RunServer] plays the client
// against a server that echoes, [RunClient] plays the server for a client that echoes. Every case
// gives a [Result] that quotes the sentence it stands on. Command wsconform does both from a shell.
package conformance
