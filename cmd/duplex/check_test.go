package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/client/check"
	"github.com/duplexhq/duplex/client/conformance/hostile"
)

func TestCheck(t *testing.T) {
	url := serve(t)
	out, _ := duplex(t, exitDone, "", "check", url)
	for _, want := range []string{"TRANSPORT  HTTP  ", "websocket  1.1   works  ", "publish    1.1   works  ", "all        3     -", "Clients will use WebSockets.\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Count(out, "\n") != 6+3+2 {
		t.Errorf("a row too many, or too few:\n%s", out)
	}
	out, _ = duplex(t, exitRefused, "", "check", url, "--origin", "https://evil.test", "--json")
	var report check.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Best != "" || report.Results[0].Cause != check.Origin {
		t.Errorf("%v: %+v", err, report)
	}
	duplex(t, exitUnreached, "", "check", "http://127.0.0.1:1")
	for _, test := range []struct{ want, args string }{
		{"no transport", url + " --need pigeon"},
		{"want http://HOST", "127.0.0.1:80"},
		{"must be more than 0", url + " --timeout 0s"},
	} {
		if _, errs := duplex(t, exitUsage, "", append([]string{"check"}, strings.Fields(test.args)...)...); !strings.Contains(errs, test.want) {
			t.Errorf("%s: %q, want %q", test.args, errs, test.want)
		}
	}

	stripping, err := hostile.Listen(&hostile.Network{Upgrade: hostile.Stripped}, strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stripping.Close()
	through := "http://" + stripping.Addr
	duplex(t, exitDone, "", "check", through, "--need", "sse,publish")
	if _, errs := duplex(t, exitFailed, "", "check", through, "--need", "websocket", "--read-only"); !strings.Contains(errs, "websocket does not work") {
		t.Error(errs)
	}
	// What gets through is found, and what does not is told.
	out, errs := duplex(t, exitDone, "", "pub", "a", "hello", "--server", through)
	sub := begin(t, nil, "sub", "a", "--after", "earliest", "--limit", "1", "--transport", "websocket,sse", "--verbose", "--server", through)
	sub.end(exitDone)
	if errs != "" || out == "" || !strings.Contains(sub.err.String(), "websocket does not work: ") || !strings.Contains(sub.err.String(), "subscribed (sse)") {
		t.Errorf("%q %q %q", out, errs, sub.err.String())
	}
}

// A version of HTTP that does not get through at all is one row.
func TestReportOfUDP(t *testing.T) {
	row := func(transport client.Transport, cause check.Cause, why string) check.Result {
		return check.Result{Transport: transport, Version: check.HTTP3, Cause: cause, Why: why, Overhead: -1}
	}
	report := &check.Report{Results: []check.Result{
		{Transport: client.SSE, Version: check.HTTP1, Works: true, Overhead: 100},
		row(client.WebTransport, check.UDPBlocked, "nobody answers"), row(client.SSE, check.UDPBlocked, "nobody answers"), row(client.Poll, check.Other, "500"),
	}}
	var out strings.Builder
	if err := printReport(&out, report); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	if want := "sse 1.1 works 0s 100 B all 3 no nobody answers poll 3 no 500"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
