//go:build linux

package main

import (
	"bytes"
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

// delivered is a run of a second, in which each delivery took the server so
// many µs.
func delivered(thousands, microseconds int) rig.Result {
	return rig.Result{Report: &load.Report{
		Subscribers: 10,
		Messages:    uint64(1000 * thousands),
		Elapsed:     time.Second,
		Server:      load.Server{CPU: time.Duration(1000*thousands*microseconds) * time.Microsecond},
	}}
}

// example is a comparison that is over.
func example(t *testing.T, names ...string) *comparison {
	t.Helper()
	doubled := delivered(5000, 1)
	doubled.Report.Duplicates = 3
	full := delivered(239, 4)
	full.Report.Generator = 950 * time.Millisecond
	c := &comparison{
		settings:   settings{rounds: 3, servers: []string{nameFloor, nameOurs, nameCoalescing, nameCentrifugo, nameNchan, nameEmpty}},
		conditions: rig.Conditions{Machine: "a machine", Commit: "c0ffee", Versions: []string{"go1.26"}},
		began:      time.Now(),
	}
	c.paths.centrifugo, c.paths.nginx, c.paths.nchan = "/bin/true", "/bin/true", "/nowhere"
	c.works = chosen(works(false, time.Second), names)
	c.find(t.Context())
	c.results = rig.Results{
		{Work: "sse", Server: nameFloor}:           {full, full, full},
		{Work: "sse", Server: nameCoalescing}:      {delivered(1463, 1)},
		{Work: "sse", Server: nameOurs}:            {delivered(880, 1), delivered(950, 1), delivered(990, 1), doubled},
		{Work: "sse", Server: nameCentrifugo}:      {delivered(300, 4), {Err: errors.New("it broke")}},
		{Work: "single-sse", Server: nameFloor}:    {delivered(200, 4)},
		{Work: "single-sse", Server: nameOurs}:     {delivered(200, 5)},
		{Work: "growth", Server: nameFloor}:        {delivered(200, 6)},
		{Work: "growth", Server: nameOurs}:         {delivered(200, 8)},
		{Work: "longpoll", Server: nameOurs}:       {delivered(70, 1)},
		{Work: "requests", Server: nameEmpty}:      {delivered(80, 1)},
		{Work: "publish-0", Server: nameOurs}:      {{Report: &load.Report{Answers: 50_000, Elapsed: time.Second}}},
		{Work: "idle-sse", Server: nameOurs}:       {{Report: &load.Report{Connections: 10, Subscribers: 10, Server: load.Server{RSSBefore: 1, RSSConnected: 1 + 10*900, RSSAfter: 1 + 10*2048}}}},
		{Work: "resume-sse", Server: nameOurs}:     {{Report: &load.Report{Elapsed: 190 * time.Millisecond}}},
		{Work: "cores", Server: nameFloor}:         {delivered(340, 4)},
		{Work: "cores", Server: nameOurs}:          {delivered(300, 4)},
		{Work: "topics", Server: nameV1}:           {delivered(10, 6)},
		{Work: "single-websocket", Server: nameV1}: {delivered(10, 5)},
	}
	return c
}

func TestMarkdown(t *testing.T) {
	c := example(t, "sse", "single-sse", "growth", "longpoll", "requests", "publish-0", "idle-sse", "resume-sse", "cores", "single-websocket", "topics", "batches")
	var b strings.Builder
	if err := c.writeMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"commit c0ffee", "**Absent**: nchan: ", "- centrifugo: version unknown.",
		"| thousand deliveries/s | centrifugo 300 | 239* / 1463 | 950 | 3.17 | 3.97 | ≥ 900 thousand deliveries/s | yes: 950 |",
		"≥ 3.5 × centrifugo | **no**: 3.17 × |",
		"server CPU, µs each ≤ 1.15 × floor | **no**: 1.25 × |",
		"grows no more than the floor | **no**: 1.07 × |", // 8/5 over 6/4
		"≥ 0.8 × an empty handler | yes: 0.88 × |",
		"≥ 60.0 thousand events/s | **no**: 50.0 |",
		"≤ 1.0 untouched, KiB | yes: 0.9 |",
		"≤ 1.0 after 20 events, KiB | **no**: 2.0 |",
		"≤ 0.20 all have all, s | yes: 0.19 |",
		"≥ 0.9 × what the floor gains | **no**: 0.88 × |", // 300/200 over 340/200
		"≤ 1.3 × one event at a time | yes: 1.20 × |",
		"≥ 400.0 thousand events/s | not measured |",
		"| round 4: 3 doubled |", "| round 2: it broke |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if c.ourFaults() != 1 {
		t.Errorf("%d of our runs had faults", c.ourFaults())
	}
}

func TestChart(t *testing.T) {
	svg := example(t, "sse").drawn().SVG()
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	count := map[string]int{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			count[start.Name.Local]++
		}
	}
	if count["rect"] != 1+5 || count["line"] != 1 { // "duplex, stream" too
		t.Errorf("%v in\n%s", count, svg)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []string{"-run nothing", "-rounds 0", "-duration 1h", "-only nobody", "more", "-nothing"} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

func TestChosen(t *testing.T) {
	var names []string
	for _, w := range chosen(works(false, time.Second), []string{"growth", "longpoll"}) {
		names = append(names, w.name)
	}
	if got := strings.Join(names, " "); got != "single-sse longpoll requests growth" {
		t.Error(got)
	}
}

// The names of servers, works and metrics that targets compare with exist.
func TestTargets(t *testing.T) {
	labels := map[string]bool{}
	all := works(false, time.Second)
	for _, p := range peers() {
		for _, w := range all {
			for _, e := range p.entries(&w) {
				labels[w.name+" "+e.label] = true
			}
		}
	}
	for _, w := range all {
		seen := map[string]bool{}
		for _, p := range peers() {
			for _, e := range p.entries(&w) {
				if seen[e.label] {
					t.Errorf("%s: two lines for %s", w.name, e.label)
				}
				seen[e.label] = true
			}
		}
		for _, target := range w.targets {
			entry, other, work := target.entry, target.of, target.ofWork
			if entry == "" {
				entry = nameOurs
			}
			if other == "" {
				other = entry
			}
			if work == "" {
				work = w.name
			}
			for _, at := range []string{w.name + " " + entry, work + " " + other} {
				if !labels[at] {
					t.Errorf("%s, target %q: nobody is %q", w.name, target.text, at)
				}
			}
			if over := target.over; over != "" && (!labels[over+" "+entry] || !labels[over+" "+other]) {
				t.Errorf("%s, target %q: not all are in %q", w.name, target.text, over)
			}
		}
	}
}

func TestCentrifugoCursor(t *testing.T) {
	var cursor []byte
	for _, step := range []struct{ text, want string }{
		{`{"id":1,"connect":{"client":"x"}}`, ""},
		{`{"id":2,"subscribe":{"recoverable":true,"epoch":"abcd","positioned":true}}`, ""},
		{`{"id":2,"subscribe":{"recoverable":true,"epoch":"abcd","offset":5}}`, "5 abcd"},
		{`{"push":{"channel":"t","pub":{"data":"x","offset":6}}}` + "\n" + `{"push":{"channel":"t","pub":{"data":"y","offset":17}}}`, "17 abcd"},
		{`{}`, "17 abcd"},
	} {
		if cursor = centrifugoCursor(cursor, []byte(step.text)); string(cursor) != step.want {
			t.Errorf("%s: %q, want %q", step.text, cursor, step.want)
		}
	}
	s, err := centrifugoSubscribe(load.WebSocket, []string{"hist:t"}, string(cursor))
	if want := `{"id":2,"subscribe":{"channel":"hist:t","recover":true,"offset":17,"epoch":"abcd"}}`; err != nil || s.Greet[1] != want {
		t.Errorf("%s, %v; want %s", s.Greet[1], err, want)
	}
}

// A comparison with real servers, which are gone afterwards.
func TestComparison(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs servers for some seconds")
	}
	chart := filepath.Join(t.TempDir(), "chart.svg")
	var out, progress strings.Builder
	args := []string{"-quick", "-run", "single-sse,resume-longpoll", "-duration", "50ms", "-only", nameFloor + "," + nameOurs, "-svg", chart}
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	if strings.Contains(out.String(), "not measured") || strings.Count(progress.String(), "round 1") != 4 {
		t.Errorf("%s\n%s", out.String(), progress.String())
	}
	if info, err := os.Stat(chart); err != nil || info.Size() == 0 {
		t.Errorf("chart: %v", err)
	}
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("there are still child processes: %v", err)
	}
}
