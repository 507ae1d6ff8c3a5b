// Package presence records who is on a topic: the members that hold a
// connection which subscribes to it (PROTOCOL.md §14).
//
// Joins and leaves are events of a topic of their own, "$presence/" and the
// topic's name. A [Recorder] appends them to the log, so that they are
// delivered, resumed and lost like all others. What it reads there is its table,
// of which [Recorder.Snapshot] gives a page: whoever reads the events after a
// snapshot's cursor misses nothing and is told nothing twice.
//
// # Several nodes
//
// With Options.Shared other recorders append to the log, too: a member is on a
// topic as long as one of the nodes holds it. All of them read the same log, and
// so have the same table (table.go, fold.go): who is on which topic, and which
// nodes hold it. There is no other way between them.
//
// A node compares what it holds with what the log says that it does
// (announce.go). If it is the first to hold a member, or the last, it appends a
// join or a leave, which says that, too: only if nothing has come to that topic
// since it looked ([topic.Key].Seen). So of those who see the same, one tells it. If
// others hold the member, it tells only them, on a topic of its own, "$nodes/" and
// its name. Whatever happens at the same time on two nodes, the one that comes
// second in the log sees what is wrong now, and rights it.
//
// A node that begins asks who is there (hear.go), and the oldest of those that know it tells
// its table, as it was at some place in the log (answer.go). What came after that place
// the one that asks has read itself: so it knows exactly what all know. A node tells
// nothing of members before the others know of it.
//
// Each appends something every 3 s (beat.go). One that is silent between three of another's is
// gone, and so is one that says so because it stops: after the grace, of which
// its members may have made use to go elsewhere, it holds nobody. The oldest node
// tells of those who have left with it. One that was only cut off reads in the
// log that it is gone, and begins as another one.
package presence
