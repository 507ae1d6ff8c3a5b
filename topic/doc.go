// Package topic is the domain of Duplex: events, the log that keeps them, and
// the hub that brings them to subscribers. It knows no network.
//
// A topic is a log: an append-only sequence of events. All topics of a [Log]
// share one sequence, so one [Cursor] resumes a subscription to any number of
// topics.
//
// A subscriber is a cursor: it has no queue and no copy of its events. The hub
// offers it the shared bytes of the next events; a [Sink] that cannot take
// them now says so, and goes on from its cursor when it can. Replay and live
// delivery are the same road, so there is no seam to lose or double an event
// in.
//
// A transport is an encoding: a [Form] turns an event into bytes, once per
// event, whatever the number of subscribers.
//
// Who owns what:
//
//   - A [Log] owns the events, their order, their ids and their retention.
//   - The [Hub] owns the shards. Each shard is one goroutine that owns its
//     subscribers and visits them in the order of the log.
//   - A subscriber that lags is served by the hub's catch-up workers, which
//     read the log and may block there; a shard never does. What the log does not
//     keep they take from the hub's tail.
package topic
