//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
)

// measured is a run whose server took so many µs for each of 1,000 messages.
func measured(microseconds int) rig.Result {
	return rig.Result{Report: &load.Report{
		Messages:  1000,
		Elapsed:   time.Second,
		Server:    load.Server{CPU: time.Duration(microseconds) * time.Millisecond},
		Generator: 950 * time.Millisecond,
	}}
}

func example() *comparison {
	doubled := measured(1)
	doubled.Report.Duplicates = 2
	return &comparison{
		settings: settings{
			quick:   true,
			rounds:  3,
			groups:  []string{"echo"},
			servers: []string{floor, "<gws>"},
		},
		conditions: rig.Conditions{Machine: "a machine", Commit: "c0ffee", Versions: []string{"go1.26"}},
		began:      time.Now(),
		results: rig.Results{
			{Work: "1k × 32 B", Server: floor}:    {measured(9), measured(4), measured(5)},
			{Work: "1k × 32 B", Server: "<gws>"}:  {measured(20), doubled, {Err: errors.New("it broke")}},
			{Work: "100 × 64 KiB", Server: floor}: {{Err: rig.ErrUnable}},
		},
	}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := example().writeMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"commit c0ffee",
		"| server | 1k × 32 B | 100 × 32 B, 16 in flight | 100 × 64 KiB |",
		"| go-epoll(raw) | 5.00 (4.00) | - | - |",
		"| <gws> | 20.00 | - | - |", // the other two runs count for nothing
		"| go-epoll(raw) | 1* | - | - |",
		"- <gws>, 1k × 32 B, round 2: 2 doubled\n- <gws>, 1k × 32 B, round 3: it broke\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), rig.ErrUnable.Error()) {
		t.Error("what a library does not do is no fault")
	}
}

func TestChart(t *testing.T) {
	chart := example().chart().SVG()
	decoder := xml.NewDecoder(bytes.NewReader(chart))
	bars, text := 0, ""
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, chart)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "rect" {
				bars++
			}
		case xml.CharData:
			text += string(token) + "\n"
		}
	}
	if bars != 1+3*2 || !strings.Contains(text, "<gws>") || !strings.Contains(text, "20.00") {
		t.Errorf("%d bars, text:\n%s", bars, text)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []string{"-run nothing", "-rounds 0", "-duration -1s", "more", "-nothing"} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// A whole comparison, with real servers that are gone afterwards.
func TestComparison(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs servers for some seconds")
	}
	chart := filepath.Join(t.TempDir(), "chart.svg")
	var out, progress strings.Builder
	args := []string{"-quick", "-unpinned", "-run", "idle", "-rounds", "1", "-duration", "10ms", "-lib", floor + ",gobwas", "-svg", chart}
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	if !strings.Contains(out.String(), "| gobwas |") || strings.Contains(out.String(), "| - |") {
		t.Error(out.String())
	}
	if info, err := os.Stat(chart); err != nil || info.Size() == 0 {
		t.Errorf("chart: %v", err)
	}
	if lines := strings.Count(progress.String(), "round 1"); lines != 4 {
		t.Errorf("%d lines of progress", lines)
	}
	wrong := []string{"-quick", "-unpinned", "-run", "idle", "-rounds", "1", "-duration", "10ms", "-lib", "nothing", "-svg", ""}
	if err := run(t.Context(), wrong, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "2 runs had faults") {
		t.Errorf("an unknown library: %v", err)
	}
	noChildren(t)
}

// A comparison that is interrupted leaves no server behind.
func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("builds servers")
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	// The first line says that the unknown library did not start; then gobwas
	// is measured for longer than this test may take.
	progress := writerFunc(func(line []byte) (int, error) {
		time.AfterFunc(200*time.Millisecond, func() { cancel(enough) }) // it may come at any moment
		return len(line), nil
	})
	args := []string{"-quick", "-unpinned", "-run", "echo", "-duration", "20m", "-lib", "nothing,gobwas", "-svg", ""}
	if err := run(ctx, args, io.Discard, progress); !errors.Is(err, enough) {
		t.Errorf("the comparison ended with %v", err)
	}
	noChildren(t)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func noChildren(t *testing.T) {
	t.Helper()
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("there are still child processes: %v", err)
	}
}
