// Package jetlog is the log on NATS JetStream: what it has acknowledged
// outlives its process. [Open] runs a NATS server inside the process, which
// listens nowhere and keeps its streams in a data directory.
//
// # What is where
//
// All topics are in one stream. Its messages (message.go) hold one or more
// appends: those that came while the message before them was on its way. So
// publishers that come together share one round trip, and with Options.Fsync
// one sync; and an append, whatever it holds, is stored whole or not at all. A
// message says which sequence number its first entry has. The numbers of the
// log are not those of the stream.
//
// The index (index.go) is in memory: for each topic its entries' numbers, and
// for the log its order, with the message that each entry is in. It decides
// what retention removes, and remembers what was lost. Open makes it from the
// snapshot that Close has left, and from the messages that came after it; if
// there is no snapshot, from all messages. Then losses of which there is no
// trace left count for all topics ([topic.Log]: what the log has forgotten).
//
// The newest entries are in memory, too (tail.go): those who read them share
// them with the hub. All others are read by the number of their message, many
// at a time, never by subject.
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
// is told of a gap. Older ids stay good. The same happens if the stream ends
// before what Close has seen. A process that was killed loses nothing, and
// begins no epoch. Epochs are in the metadata of the stream.
//
// If the server does not say whether it has stored a message, as with a disk
// that is full, the log takes nothing more ([ErrFailed]) until it is opened
// anew.
//
// # Several nodes
//
// This package does not speak to an external NATS yet. What then differs: an
// id is the stream's own number, as several nodes append; a message holds one
// append on the subject of its topic (subject.go), so that a node receives only
// what its subscribers want; and Nats-Msg-Id carries the idempotency key. What
// is published goes through JetStream's API here, too.
package jetlog
