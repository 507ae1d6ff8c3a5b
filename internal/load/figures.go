package load

import "time"

// Figures are a report for programs. Times of events are in milliseconds, those
// of the server's CPU in microseconds.
type Figures struct {
	Work        string `json:"work"`
	Transport   string `json:"transport,omitempty"`
	Connections int    `json:"connections"`
	Subscribers int    `json:"subscribers"`

	Seconds    float64 `json:"seconds"`
	Deliveries uint64  `json:"deliveries"`
	Rate       float64 `json:"deliveries_per_second"`
	Published  uint64  `json:"published"`
	CPU        float64 `json:"server_cpu_us_per_delivery"`
	Latency    Spread  `json:"latency_ms"`
	Complete   *Spread `json:"complete_ms,omitempty"`
	Answered   *Spread `json:"publish_ms,omitempty"`
	Bytes      float64 `json:"bytes_per_delivery"`
	Reads      float64 `json:"reads_per_delivery"`

	RSSBefore     int64   `json:"server_rss_before,omitempty"`
	RSSConnected  int64   `json:"rss_per_subscriber_idle,omitempty"`
	RSSAfter      int64   `json:"rss_per_subscriber_after,omitempty"`
	GeneratorLoad float64 `json:"generator_cores"`
	OtherLoad     float64 `json:"other_cores"`

	Lost       uint64 `json:"lost"`
	Overdue    uint64 `json:"not_there_in_time"`
	Duplicates uint64 `json:"duplicates"`
	Wrong      uint64 `json:"wrong"`
	Told       uint64 `json:"missing_but_told,omitempty"`

	Stages []StageFigures `json:"stages,omitempty"`
	Slow   *SlowFigures   `json:"slow,omitempty"`
}

// Spread is a histogram in short, in milliseconds.
type Spread struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// StageFigures are a [Stage].
type StageFigures struct {
	Name      string  `json:"name"`
	Seconds   float64 `json:"seconds"`
	Published uint64  `json:"published"`
	Latency   Spread  `json:"latency_ms"`
	Answered  Spread  `json:"publish_ms"`
}

// SlowFigures are a [Slow].
type SlowFigures struct {
	Readers         int     `json:"readers"`
	RSSBefore       int64   `json:"server_rss_before"`
	RSSPeak         int64   `json:"server_rss_peak"`
	Kept            int64   `json:"data_kept_meanwhile"`
	RSSPerReader    int64   `json:"server_rss_per_reader"`
	KernelPerReader int64   `json:"kernel_bytes_per_reader"`
	Cut             int     `json:"cut"`
	Abandoned       int     `json:"abandoned"`
	Recovered       int     `json:"recovered"`
	RecoverySeconds float64 `json:"recovery_seconds"`
}

// Spread gives the histogram in short.
func (h *Histogram) Spread() Spread {
	return Spread{milliseconds(h.Quantile(0.5)), milliseconds(h.Quantile(0.99)), milliseconds(h.Quantile(0.999)), milliseconds(h.max)}
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// BytesPerMessage gives the bytes that came over the wire for each message.
func (r *Report) BytesPerMessage() float64 { return float64(r.BytesIn) / float64(max(r.Messages, 1)) }

// Figures gives the report for programs.
func (r *Report) Figures() Figures {
	seconds := max(r.Elapsed.Seconds(), 1e-9)
	connected, after := r.RSSPerConnection()
	f := Figures{
		Work: r.Work, Connections: r.Connections, Subscribers: r.Subscribers,
		Seconds: r.Elapsed.Seconds(), Deliveries: r.Messages, Rate: r.Rate(), Published: r.Published,
		CPU: float64(r.CPUPerMessage()) / 1e3, Latency: r.Latency.Spread(),
		Bytes: r.BytesPerMessage(), Reads: float64(r.Reads) / float64(max(r.Messages, 1)),
		RSSBefore: r.Server.RSSBefore, RSSConnected: connected, RSSAfter: after,
		GeneratorLoad: r.Generator.Seconds() / seconds, OtherLoad: r.Other.Seconds() / seconds,
		Lost: r.Lost, Overdue: r.Overdue, Duplicates: r.Duplicates, Wrong: r.Wrong, Told: r.Told,
	}
	if r.Complete.Count() > 0 {
		f.Complete = new(r.Complete.Spread())
	}
	if r.Answered.Count() > 0 {
		f.Answered = new(r.Answered.Spread())
	}
	for i := range r.Stages {
		s := &r.Stages[i]
		f.Stages = append(f.Stages, StageFigures{s.Name, s.Elapsed.Seconds(), s.Published, s.Latency.Spread(), s.Answered.Spread()})
	}
	if s := r.Slow; s != nil {
		f.Slow = &SlowFigures{
			Readers: s.Readers, RSSBefore: s.RSSBefore, RSSPeak: s.RSSPeak, Kept: s.Kept, RSSPerReader: s.RSSPerReader(),
			KernelPerReader: s.KernelPerReader(), Cut: s.Cut, Abandoned: s.Abandoned, Recovered: s.Recovered,
			RecoverySeconds: s.Recovery.Seconds(),
		}
	}
	return f
}
