//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
	"github.com/duplexhq/duplex/internal/load"
)

const (
	benchServerCore = 0
	benchLoadCore   = 1
)

// Run measures what was asked for.
func (c *benchCommand) Run(ctx context.Context, out *console) error {
	// The kernel ends the servers when the thread that has started them ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if c.Pin {
		if runtime.NumCPU() < 2 {
			return usageError("--pin: there is only one core")
		}
		if err := load.Pin(os.Getpid(), benchLoadCore); err != nil {
			return err
		}
	}
	b := bench{benchCommand: c, console: out, terminal: stdio.IsTerminal(out.err)}
	for _, w := range benchWorks {
		if len(c.Work) == 0 || slices.Contains(c.Work, w.name) {
			b.works = append(b.works, w)
			b.total += len(w.runs(c))
		}
	}
	for i := range b.works {
		if err := b.measure(ctx, &b.works[i]); err != nil {
			return err
		}
	}
	if c.SVG != "" {
		if err := os.WriteFile(c.SVG, b.chart.SVG(), 0o666); err != nil {
			return err
		}
	}
	if b.faulty > 0 {
		return fmt.Errorf("%d of %d runs lost, doubled or changed events, or failed", b.faulty, b.total)
	}
	return nil
}

// bench is one call of the command.
type bench struct {
	*benchCommand
	*console
	terminal bool
	works    []benchWork
	total    int // runs
	begun    int // of them
	faulty   int
	chart    load.Chart
}

// measure makes the runs of a work, and says what came of them.
func (b *bench) measure(ctx context.Context, w *benchWork) error {
	table := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	panel := load.Panel{Title: w.title(b.benchCommand) + ": " + w.chart.title}
	if !b.JSON {
		titles := []string{""}
		for _, column := range w.columns {
			titles = append(titles, column.title)
		}
		fmt.Fprintf(b.out, "%s\n\n", w.title(b.benchCommand))
		fmt.Fprintln(table, strings.Join(titles, "\t"))
	}
	for _, run := range w.runs(b.benchCommand) {
		b.begun++
		report, err := b.one(ctx, w.name+" "+run.label, run)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil || report.Faults() != "" {
			b.faulty++
		}
		if err != nil {
			if b.begun == 1 {
				return err // it will not get better
			}
			b.note("%s %s: %v", w.name, run.label, err)
			continue
		}
		if err := b.tell(table, w, run.label, report); err != nil {
			return err
		}
		panel.Bars = append(panel.Bars, load.Bar{Label: run.label, Value: max(w.chart.value(report), 0), Text: w.chart.text(report), Colour: load.ColourOurs})
	}
	b.chart.Note = cmp.Or(b.chart.Note, "duplex bench, "+time.Now().UTC().Format(time.DateOnly))
	b.chart.Panels = append(b.chart.Panels, panel)
	if b.JSON {
		return nil
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(b.out, "\n")
	return err
}

// tell prints a report.
func (b *bench) tell(table io.Writer, w *benchWork, label string, report *load.Report) error {
	if b.JSON {
		figures := report.Figures()
		figures.Work, figures.Transport = w.name, label
		_, err := fmt.Fprintf(b.out, "%s\n", stdio.JSON(figures))
		return err
	}
	cells := []string{label}
	for _, column := range w.columns {
		cells = append(cells, column.text(report))
	}
	_, err := fmt.Fprintln(table, strings.Join(cells, "\t"))
	return err
}

// one makes one run, with a server of its own if none is given.
func (b *bench) one(ctx context.Context, name string, run benchRun) (_ *load.Report, err error) {
	options := load.Options{PID: b.PID, Remote: b.Remote, Duration: b.Duration}
	if b.Duration < 200*time.Millisecond {
		options.Settle, options.Warmup = b.Duration, b.Duration
	}
	if b.terminal {
		options.Progress = func(p load.Progress) {
			fmt.Fprintf(b.err, "%s%d/%d %s: %s, %s connections, %s events", stdio.EraseLine, b.begun, b.total, name, p.Stage, thousands(float64(p.Connections)), thousands(float64(p.Messages)))
		}
		defer fmt.Fprint(b.err, stdio.EraseLine)
	}
	if options.Address, err = b.address(); err != nil {
		return nil, err
	}
	if options.Address == "" {
		server, err := startBenchServer(ctx, b.Pin)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, server.end()) }()
		options.Address, options.PID = server.address, server.pid()
	} else if b.Pin && b.PID != 0 {
		if err := load.Pin(b.PID, benchServerCore); err != nil {
			return nil, err
		}
	}
	report, err := run.do(ctx, options)
	if errors.Is(err, syscall.ECONNREFUSED) {
		err = &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return report, err
}
