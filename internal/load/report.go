package load

import (
	"fmt"
	"strings"
	"time"
)

// Report is what a run has measured.
type Report struct {
	Work        string // such as "echo"
	Connections int    // all of them
	Subscribers int    // those that messages are delivered to; 0 if each message goes to one

	// Of the measured time only:
	Elapsed   time.Duration
	Messages  uint64    // came back, or were delivered; without subscribers, publishes that were answered
	Published uint64    // sent to be delivered to all
	Answers   uint64    // messages whose publishing was answered
	BytesIn   uint64    // received by the generator, with everything around the messages
	Reads     uint64    // that gave bytes: Messages/Reads shows what the server coalesces
	Latency   Histogram // from sending, or from when sending was due, until a message is here
	Complete  Histogram // of fan-out: until the last subscriber has it
	Answered  Histogram // of publishing by HTTP: until the answer is here

	// Of all the run, warm-up and end too. All of them should be 0.
	Lost       uint64
	Overdue    uint64 // of the lost, those that nothing had overtaken when the time for them was over
	Duplicates uint64
	Wrong      uint64 // bytes were not those that were sent

	Told uint64 // are missing, and the server has said so ($gap)

	Stages []Stage // of a work that has them
	Slow   *Slow   // of readers that stop reading

	Server    Server        // zero if its process is not known
	Generator time.Duration // CPU time of this process
	Other     time.Duration // CPU time that the rest of the machine took, or its host: how far to trust this run
}

// Stage is a part of the measured time.
type Stage struct {
	Name      string
	Elapsed   time.Duration
	Published uint64
	Latency   Histogram // of the subscribers that always read
	Answered  Histogram
}

// Slow is what happens to readers that stop reading, and because of them.
type Slow struct {
	Readers      int   // that stop
	RSSBefore    int64 // of the server, when they stop
	RSSPeak      int64
	Kept         int64 // bytes of the events that the server had to keep for all meanwhile
	KernelBefore int64 // bytes of all TCP buffers of the machine, both ends
	KernelPeak   int64
	Cut          int    // whom the server has closed the connection of, and who have come back
	Abandoned    int    // readers that did not come back: their transport knows no way to go on where they were
	Missing      uint64 // messages that the abandoned ones did not get
	Recovered    int
	Recovery     time.Duration // from reading again until the last one had what was sent meanwhile
}

// RSSPerReader gives the bytes that the server's memory has grown by for each
// reader that does not read, beyond the data of the events that it keeps
// anyway.
func (s *Slow) RSSPerReader() int64 {
	return (s.RSSPeak - s.RSSBefore - s.Kept) / int64(max(s.Readers, 1))
}

// KernelPerReader gives the bytes that the kernel's buffers have grown by for
// each of them.
func (s *Slow) KernelPerReader() int64 {
	return (s.KernelPeak - s.KernelBefore) / int64(max(s.Readers, 1))
}

// Server is what a run has seen of the server's process.
type Server struct {
	CPU          time.Duration // user and system
	RSSBefore    int64         // bytes, before the first connection
	RSSConnected int64         // with all of them, before the first message
	RSSAfter     int64         // with all of them, after the last message
}

// Rate gives the messages per second.
func (r *Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Messages) / r.Elapsed.Seconds()
}

// CPUPerMessage gives the server's CPU time for each message.
func (r *Report) CPUPerMessage() time.Duration {
	if r.Messages == 0 {
		return 0
	}
	return time.Duration(float64(r.Server.CPU) / float64(r.Messages))
}

// RSSPerConnection gives the bytes that the server holds for each connection,
// before the first message and after the last.
func (r *Report) RSSPerConnection() (connected, after int64) {
	if r.Connections == 0 || r.Server.RSSBefore == 0 {
		return 0, 0
	}
	n := int64(r.Connections)
	if r.Subscribers > 0 {
		n = int64(r.Subscribers)
	}
	return (r.Server.RSSConnected - r.Server.RSSBefore) / n, (r.Server.RSSAfter - r.Server.RSSBefore) / n
}

// Faults says what went wrong, or "".
func (r *Report) Faults() string {
	var faults []string
	for _, f := range []struct {
		count uint64
		what  string
	}{{r.Lost - r.Overdue, "lost"}, {r.Overdue, "not there in time"}, {r.Duplicates, "doubled"}, {r.Wrong, "wrong"}} {
		if f.count > 0 {
			faults = append(faults, fmt.Sprintf("%d %s", f.count, f.what))
		}
	}
	return strings.Join(faults, ", ")
}
