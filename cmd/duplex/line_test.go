package main

import (
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

func TestLines(t *testing.T) {
	when := time.Date(2026, 8, 22, 10, 15, 30, 123e6, time.UTC)
	clock := when.Local().Format("15:04:05.000")
	tests := []struct {
		e           topic.Envelope
		json, human string // human without the time
	}{
		{ // the examples of PROTOCOL.md §3.4 and §6.1
			topic.Envelope{ID: "k7qx-1041", Topic: "orders/eu/42", Type: "paid", Data: []byte(`{"total":12}`), Kind: topic.JSON, Time: when},
			`{"id":"k7qx-1041","topic":"orders/eu/42","event":"paid","data":{"total":12},"time":"2026-08-22T10:15:30.123Z"}`,
			`orders/eu/42  paid  {"total":12}`,
		}, {
			topic.Envelope{ID: "k7qx-1043", Topic: "orders/eu/42", Media: "text/html", Data: []byte("<b>hi</b>"), Time: when},
			`{"id":"k7qx-1043","topic":"orders/eu/42","media":"text/html","data":"<b>hi</b>","time":"2026-08-22T10:15:30.123Z"}`,
			`orders/eu/42  message  <b>hi</b>`,
		}, {
			topic.Envelope{ID: "k7qx-1044", Topic: "orders/eu/42", Media: "image/png", Data: []byte("\x89PNG\r"), Kind: topic.Binary, Time: when},
			`{"id":"k7qx-1044","topic":"orders/eu/42","media":"image/png","data":"data:image/png;base64,iVBORw0=","binary":true,"time":"2026-08-22T10:15:30.123Z"}`,
			`orders/eu/42  message  (5 bytes of image/png)`,
		}, {
			topic.Envelope{ID: "k7qx-1016", Type: "$gap", Data: []byte(`{"after":"k7qx-12","oldest":"k7qx-1017"}`), Kind: topic.JSON, Time: time.Time{}},
			`{"id":"k7qx-1016","event":"$gap","data":{"after":"k7qx-12","oldest":"k7qx-1017"}}`,
			`-  $gap  {"after":"k7qx-12","oldest":"k7qx-1017"}`,
		}, { // nothing of it may reach the terminal as a command
			topic.Envelope{ID: "e-1", Topic: "a", Type: "x\x1by", Data: []byte("one\ntwo\x1b[2J\t\r\x7f\u009b\x00é"), Time: when},
			`{"id":"e-1","topic":"a","event":"x\u001by","data":"one\ntwo\u001b[2J\t\r` + "\x7f\u009b" + `\u0000é","time":"2026-08-22T10:15:30.123Z"}`,
			"a  x\\x1by  one\\ntwo\\x1b[2J\t\\x0d\\x7f\\x9b\\x00é",
		},
	}
	for _, test := range tests {
		if got := string(jsonLine(&test.e)); got != test.json+"\n" {
			t.Errorf("JSON\n got %s\nwant %s", got, test.json)
		}
		got := string(humanLine(&test.e))
		if !test.e.Time.IsZero() {
			if !strings.HasPrefix(got, clock+"  ") {
				t.Errorf("%q does not begin with %s", got, clock)
			}
		}
		if _, rest, _ := strings.Cut(got, "  "); rest != test.human+"\n" {
			t.Errorf("human\n got %q\nwant %q", rest, test.human)
		}
	}
}
