// Package sse speaks Server-Sent Events, the text/event-stream format of the
// HTML Standard §9.2, at both ends of the connection.
//
// Four doors lead in, and each works without the others:
//
//   - [Append], [AppendComment] and [AppendRetry] encode into a buffer of the
//     caller. They do not allocate, and a block made once may be sent to many.
//   - [NewWriter] turns an http.ResponseWriter into an event stream that is
//     flushed after each write and outlives http.Server.WriteTimeout.
//   - [Parser] takes bytes as they come and gives events. It does no I/O.
//     [Read] runs one over an io.Reader.
//   - [Events] is an EventSource for Go: it connects, and connects again from
//     the last event's id, until the context or the server ends it.
//
// What a change must not break:
//
//   - The parser gives the same events however its input is cut into chunks.
//   - It never holds much more than Parser.MaxEventBytes, and an event above
//     that is an error, never a shorter event.
//   - Nothing that is given as id, type, data or comment can begin a field of
//     its own in the encoded stream.
//   - An iterator's step is an event or an error, never both or neither; an
//     error is the last step; breaking out of the loop frees everything.
//
// Section numbers are those of the HTML Standard of June 2025.
package sse
