// Package load puts servers under load and measures what they do with it: it
// holds connections, echoes, broadcasts and publishes, checks every byte that
// comes back, and counts what is lost, doubled or wrong.
//
// It costs little per message, so that it stays out of the way of a server on
// the same machine: raw non-blocking sockets on an epoll loop, one buffer per
// loop, messages that are encoded once and numbered in place. It speaks plain
// TCP and runs on Linux only. Every run is bounded in connections and in time.
//
// Messages carry their number in their first [MinBytes] bytes, as hexadecimal
// digits, and a fixed pattern after them: text that every transport can carry
// as it is.
package load
