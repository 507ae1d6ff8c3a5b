// Package poller drives plain TCP connections by events: a connection that has
// nothing to say costs a struct, and neither a goroutine nor a buffer nor a
// timer.
//
// A [Poller] owns a few loops, each of them one goroutine with one epoll
// instance. [Poller.Adopt] takes a connection from package net and gives it to
// one of the loops, which calls the connection's [Handler] from then on. What
// holds for it:
//
//   - All calls of a handler come from its connection's loop, one after the
//     other. They must not block: the other connections of the loop wait
//     meanwhile. To do something long, a handler calls [Conn.Pause], lets
//     another goroutine do it, and that one calls [Conn.Resume].
//   - The bytes given to Data are lent: they lie in the loop's read buffer.
//   - [Conn.Write] may be called by any goroutine and never blocks. It sends
//     what the kernel takes at once; of the rest it keeps references, and the
//     loop sends it as the peer reads. It says how much that is: who writes has
//     to stop in time.
//   - What is written to a connection during one of its own callbacks is put
//     together, and leaves in one system call when the callback returns.
//   - Time limits are coarse, see [Resolution], and cost no timer.
//   - A [Conn] is never used again for another connection, and its descriptor
//     is closed by its loop under the lock that writers hold. So neither a
//     late write nor an event of a closed connection can reach one that got
//     the same descriptor number.
//
// A loop that has nothing to do waits in the runtime's network poller, like
// any goroutine that reads: it holds no P and no thread.
//
// Linux only. Elsewhere [New] fails with [errors.ErrUnsupported].
package poller
