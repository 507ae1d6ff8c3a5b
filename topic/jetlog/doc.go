// Package jetlog is the log on NATS JetStream: what it has acknowledged
// outlives its process. [Open] runs a NATS server inside the process, which
// listens nowhere and keeps its streams in a data directory; or it uses an
// external server, together with other nodes. What is said here is of the former,
// up to the last section.
//
// # What is where
//
// All topics are in one stream. Its messages (internal/message) hold one or more
// appends: those that came while the message before them was on its way. So
// publishers that come together share one round trip, and with Options.Fsync
// one sync; and an append, whatever it holds, is stored whole or not at all. A
// message says which sequence number its first entry has. The numbers of the
// log are not those of the stream.
//
// The index (internal/index) is in memory: for each topic its entries' numbers, and
// for the log its order, with the message that each entry is in. It decides
// what retention removes, and remembers what was lost. Open makes it from the
// snapshot that Close has left, and from the messages that came after it; if
// there is no snapshot, from all messages. Then losses of which there is no
// trace left count for all topics ([topic.Log]: what the log has forgotten).
//
// The newest entries are in memory, too (tail.go), also after a start (warm.go):
// those who read them share them with the hub. All others are read by the number
// of their message, many at a time, never by subject.
//
// What the index has removed stays on the disk until it lies in front of what
// is needed (reclaim.go). What is in the way there, old events of quiet topics,
// is carried to a second, small stream. So the disk takes at most about twice
// what the log keeps, and 256 MiB.
//
// # Durability
//
// An append is acknowledged when the system has it: it outlives the process,
// killed or not, and the machine if it is synced, which happens every
// Options.SyncInterval. With Options.Fsync it is synced first.
//
// A start after the machine went down with the log adds an epoch: ids that were
// given to entries which may be lost are then unknown, and who comes with one
// is told of a gap. Older ids stay good. A process that was killed loses nothing,
// and begins no epoch. Epochs are in the metadata of the stream.
//
// A file (mark.go) has the number of the newest entry that was acknowledged. If
// the stream ends before that, the disk has lost what was between: the log says
// so, gives those ids to nothing else, and tells a gap to whoever had not read
// that far. The server would remove a stream that it cannot open, for whatever
// reason; so there is a second name for each of its files while it starts
// (guard.go), and such a start fails, with everything as it was.
//
// If the server does not say whether it has stored a message, as with a disk
// that is full, the log takes nothing more ([ErrFailed]) until it is opened
// anew.
//
// # Several nodes
//
// With Options.NATS the stream is one of an external server or cluster, and any
// number of logs, on any number of machines, are one log: what one of them
// appends, all have, with the same ids and in the same order. Each has the whole
// index and the tail in its own memory, and nothing on its own disk.
//
// So a node receives everything, also what nobody reads there: it needs the order,
// keys and ends of all topics to append, and who goes from node to node finds what
// is newest in memory. When thousands of events of 128 B are published one by one
// in a second, a node that is asked for nothing spends 5 to 10 µs and 165 to 200 B
// on each, a tenth of the time of the one that they are published on; in batches,
// 1 µs.
//
// A message holds a group of appends here, too, and is stored only if its author
// knew all messages before it (follow.go). If another node came first, the group
// is decided anew by what that one has brought: keys, ends and limits are exact,
// however many nodes there are, and need no memory of the server. Whether a
// message counts is in the message and its place; so all nodes see the same,
// whatever the server let through, and whatever became of an acknowledgement.
// It costs a node that comes too late a round trip. Who is late often asks the
// others to give way (giveway.go).
//
// A node takes messages as the server republishes them, one after the other.
// Those that did not come it fetches: when a later one comes, when it wants to
// append, when its connection is back, when a cursor is ahead of it, and every
// second (remote.go). It never passes over one. A cursor that it does not know
// it calls unknown only when a message of its own has been stored meanwhile; if
// that takes longer than 2 s, it says so.
//
// A server may be there and know nothing: it is cut off from the others of its
// cluster, or was the leader of the stream and does not know better. So a node
// takes no answer for the loss of a message but one that shows a later one, and
// goes on with another server when one knows nothing for 3 s.
//
// What is over age goes by the times in the messages: if nobody appends, a node
// appends an empty one when something is. The loss clock is in the messages, so
// that all nodes agree on what a cursor was told of. An old event of a quiet
// topic is lost when the messages since then take more than twice
// Options.RetainBytes and 256 MiB; what is in front of all that is kept is
// removed from the stream ten minutes later.
//
// While there is no server, appends wait for NATS.Patience and then give
// [ErrUnavailable], as [Log.Ready] does; what is in memory can be read, and what
// came meanwhile comes after. A node that cannot follow any more, as it was away
// for too long, or the stream is not what it was, gives [ErrFailed] from then on,
// and must be opened anew. If the stream has lost its end, as a server without
// copies may when its machine goes down, the nodes that have seen more of it
// begin an epoch. If none of them is left, nobody knows: have three copies.
package jetlog
