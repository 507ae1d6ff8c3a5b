//go:build linux

package main

import (
	"fmt"

	"github.com/duplexhq/duplex/internal/load"
)

// metric is one figure of a report.
type metric struct {
	title  string
	of     func(*load.Report) float64
	digits int
	scale  float64 // of the value, for showing it
	fewer  bool    // fewer is better
	full   bool    // mark it if the generator had no time left: more may have been possible
}

// number shows a value.
func (m metric) number(v float64) string {
	if m.scale != 0 {
		v *= m.scale
	}
	return fmt.Sprintf("%.*f", m.digits, v)
}

var (
	rate      = metric{title: "thousand deliveries/s", of: (*load.Report).Rate, scale: 1e-3, digits: 0, full: true}
	cpu       = metric{title: "server CPU, µs each", of: func(r *load.Report) float64 { return float64(r.CPUPerMessage()) / 1e3 }, digits: 2, fewer: true}
	p50       = latency("p50, ms", 0.5)
	p99       = latency("p99, ms", 0.99)
	p999      = latency("p99.9, ms", 0.999)
	reads     = metric{title: "reads each", of: func(r *load.Report) float64 { return float64(r.Reads) / float64(max(r.Messages, 1)) }, digits: 2}
	wire      = metric{title: "bytes each", of: (*load.Report).BytesPerMessage}
	generator = metric{title: "generator's core", of: func(r *load.Report) float64 { return r.Generator.Seconds() / max(r.Elapsed.Seconds(), 1e-9) }, digits: 2}

	answers   = metric{title: "thousand events/s", of: func(r *load.Report) float64 { return float64(r.Answers) / max(r.Elapsed.Seconds(), 1e-9) }, scale: 1e-3, digits: 1, full: true}
	answerCPU = metric{title: "server CPU, µs each", of: func(r *load.Report) float64 { return float64(r.Server.CPU) / 1e3 / float64(max(r.Answers, 1)) }, digits: 2, fewer: true}
	answerP50 = metric{title: "answer p50, ms", of: func(r *load.Report) float64 { return milliseconds(&r.Answered, 0.5) }, digits: 2, fewer: true}
	answerP99 = metric{title: "answer p99, ms", of: func(r *load.Report) float64 { return milliseconds(&r.Answered, 0.99) }, digits: 2, fewer: true}

	rssIdle  = metric{title: "untouched, KiB", of: func(r *load.Report) float64 { idle, _ := r.RSSPerConnection(); return float64(idle) / 1024 }, digits: 1, fewer: true}
	rssAfter = metric{title: "after 20 events, KiB", of: func(r *load.Report) float64 { _, after := r.RSSPerConnection(); return float64(after) / 1024 }, digits: 1, fewer: true}

	elapsed = metric{title: "all have all, s", of: func(r *load.Report) float64 { return r.Elapsed.Seconds() }, digits: 2, fewer: true}

	rssSlow          = metric{title: "server KiB for each stalled", of: func(r *load.Report) float64 { return float64(r.Slow.RSSPerReader()) / 1024 }, digits: 1, fewer: true}
	kernelSlow       = metric{title: "kernel KiB for each", of: func(r *load.Report) float64 { return float64(r.Slow.KernelPerReader()) / 1024 }, digits: 0, fewer: true}
	cut              = metric{title: "cut", of: func(r *load.Report) float64 { return float64(r.Slow.Cut) }, fewer: true}
	recovered        = metric{title: "recovered", of: func(r *load.Report) float64 { return float64(r.Slow.Recovered) }}
	told             = metric{title: "missing, but told", of: func(r *load.Report) float64 { return float64(r.Told + r.Slow.Missing) }, fewer: true}
	publishBefore    = stage("publish p99 before, ms", 0, true)
	publishMeanwhile = stage("meanwhile", 1, true)
	othersBefore     = stage("others' p99 before, ms", 0, false)
	othersMeanwhile  = stage("meanwhile", 1, false)
	othersAfter      = stage("after", 2, false)
)

func latency(title string, q float64) metric {
	return metric{title: title, of: func(r *load.Report) float64 { return milliseconds(&r.Latency, q) }, digits: 1, fewer: true}
}

func stage(title string, number int, answered bool) metric {
	return metric{title: title, digits: 2, fewer: true, of: func(r *load.Report) float64 {
		if answered {
			return milliseconds(&r.Stages[number].Answered, 0.99)
		}
		return milliseconds(&r.Stages[number].Latency, 0.99)
	}}
}

func milliseconds(h *load.Histogram, q float64) float64 { return h.Quantile(q).Seconds() * 1e3 }

// target is what one of ours has to reach.
type target struct {
	text   string
	entry  string // "": ours
	metric metric
	// The figure has to be at least, or if fewer is better at most, the limit:
	// a number, or a factor of the figure of another entry, work or metric.
	least, most float64
	factor      float64
	of          string // entry
	ofWork      string
	ofMetric    *metric
	// over is a work that both figures are divided by their own of.
	over string
}

func atLeast(m metric, limit float64) target {
	return target{text: fmt.Sprintf("≥ %s %s", m.number(limit), m.title), metric: m, least: limit}
}

func atMost(m metric, limit float64) target {
	return target{text: fmt.Sprintf("≤ %s %s", m.number(limit), m.title), metric: m, most: limit}
}

func timesOf(m metric, factor float64, entry string) target {
	return target{text: fmt.Sprintf("≥ %g × %s", factor, entry), metric: m, factor: factor, of: entry}
}

func atMostOf(m metric, factor float64, entry string) target {
	return target{text: fmt.Sprintf("%s ≤ %g × %s", m.title, factor, entry), metric: m, factor: factor, of: entry}
}
