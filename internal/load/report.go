package load

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run has measured.
type Report struct {
	Work        string // such as "echo"
	Connections int    // all of them
	Subscribers int    // those that messages are delivered to; 0 if each message goes to one

	// Of the measured time only:
	Elapsed   time.Duration
	Messages  uint64 // came back, or were delivered; without subscribers, publishes that were answered
	Published uint64 // sent to be delivered to all
	BytesIn   uint64 // received by the generator, with everything around the messages
	BytesOut  uint64
	Reads     uint64    // that gave bytes: Messages/Reads shows what the server coalesces
	Latency   Histogram // from sending, or from when sending was due, until a message is here
	Complete  Histogram // of fan-out: until the last subscriber has it
	Answered  Histogram // of publishing by HTTP: until the answer is here

	// Of all the run, warm-up and end too. All of them should be 0.
	Lost       uint64
	Duplicates uint64
	Wrong      uint64 // bytes were not those that were sent

	Server    Server        // zero if its process is not known
	Generator time.Duration // CPU time of this process
	Other     time.Duration // CPU time that the rest of the machine took, or its host: how far to trust this run
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
	return (r.Server.RSSConnected - r.Server.RSSBefore) / n, (r.Server.RSSAfter - r.Server.RSSBefore) / n
}

// Faults says what went wrong, or "".
func (r *Report) Faults() string {
	var faults []string
	for _, f := range []struct {
		count uint64
		what  string
	}{{r.Lost, "lost"}, {r.Duplicates, "doubled"}, {r.Wrong, "wrong"}} {
		if f.count > 0 {
			faults = append(faults, fmt.Sprintf("%d %s", f.count, f.what))
		}
	}
	return strings.Join(faults, ", ")
}

// WriteTable writes the reports as a table for people, a line for each.
func WriteTable(w io.Writer, reports ...*Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "work\tconns\tmessages/s\tp50\tp99\tp99.9\tin MB/s\tout MB/s\tmsg/read\tserver µs/msg\tserver cores\tgenerator\tother\tRSS/conn\tafter\tfaults\t")
	for _, r := range reports {
		seconds := max(r.Elapsed.Seconds(), 1e-9)
		connected, after := r.RSSPerConnection()
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%v\t%v\t%v\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%d\t%s\t\n",
			r.Work, r.Connections, r.Rate(),
			rounded(r.Latency.Quantile(0.5)), rounded(r.Latency.Quantile(0.99)), rounded(r.Latency.Quantile(0.999)),
			float64(r.BytesIn)/seconds/1e6, float64(r.BytesOut)/seconds/1e6,
			float64(r.Messages)/float64(max(r.Reads, 1)),
			float64(r.CPUPerMessage())/1e3, r.Server.CPU.Seconds()/seconds,
			r.Generator.Seconds()/seconds, r.Other.Seconds()/seconds,
			connected, after, r.Faults())
	}
	return table.Flush()
}

func rounded(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(100 * time.Nanosecond)
	}
	return d.Round(10 * time.Microsecond)
}
