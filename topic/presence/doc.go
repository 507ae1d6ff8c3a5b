// Package presence records who is on a topic: the members that hold a
// connection which subscribes to it (PROTOCOL.md §14).
//
// Joins and leaves are events of a topic of their own, "$presence/" and the
// topic's name. A [Recorder] appends them to the log, so that they are
// delivered, resumed and lost like all others. What it has appended so far is
// its table, of which [Recorder.Snapshot] gives a page: whoever reads the
// events after a snapshot's cursor misses nothing and is told nothing twice.
//
// A recorder knows the connections of its own server. It alone appends to the
// topics that it records.
package presence
