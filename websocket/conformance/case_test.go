package conformance

import (
	"net"
	"regexp"
	"slices"
	"testing"
)

func TestCases(t *testing.T) {
	seen := map[string]bool{}
	for _, role := range []Role{Server, Client} {
		for _, c := range Cases(role) {
			id := string(role) + " " + c.ID
			if seen[id] {
				t.Errorf("%s: twice", id)
			}
			seen[id] = true
			if !regexp.MustCompile(`^RFC [0-9]+ §[0-9.]+$`).MatchString(c.RFC) || c.Quote == "" {
				t.Errorf("%s: cites %q, quotes %q", id, c.RFC, c.Quote)
			}
			if c.Level != Must && c.Level != Should && c.Level != Care {
				t.Errorf("%s: level %q", id, c.Level)
			}
			checkSteps(t, id, role, c)
		}
	}
}

// checkSteps finds what the format allows and the runner could only fail at.
func checkSteps(t *testing.T, id string, role Role, c Case) {
	expects, handshakes := false, 0
	for _, s := range c.steps {
		open := s.Connect
		if role == Client {
			open = s.Accept
		}
		if s.Connect != nil || s.Accept != nil {
			handshakes++
			if open == nil {
				t.Errorf("%s: has no handshake for a %s", id, role)
				continue
			}
			expects = expects || open.Expect.Line != "" || open.Expect.Fields != nil || open.Expect.Absent != nil
			if role == Server && open.Cut == 0 {
				expects = true // a valid 101
			}
		}
		expects = expects || s.Expect != nil
		e := encoder{limit: 1000, deflate: compressor{bits: 15}}
		for _, frames := range [][]frame{s.Send, openGlue(open)} {
			for _, f := range frames {
				f.Times = size{}
				if f.Repeat != nil {
					f.Repeat = &repeat{Text: f.Repeat.Text, Hex: f.Repeat.Hex}
				}
				if _, err := e.frames([]frame{f}); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		}
	}
	if role == Client && handshakes > 1 {
		t.Errorf("%s: a client comes only once", id)
	}
	if !expects {
		t.Errorf("%s: expects nothing", id)
	}
	for _, need := range c.needs {
		known := []string{"deflate", "takeover", "window-15", "limit", "subprotocol", "same-origin", "handshake-timeout", "message-timeout"}
		if !slices.Contains(known, need) {
			t.Errorf("%s: needs %q", id, need)
		}
	}
}

func openGlue(h *handshake) []frame {
	if h == nil {
		return nil
	}
	return h.Glue
}

func TestFillIn(t *testing.T) {
	row := map[string]any{"n": 5, "text": "Hello"}
	got := fillIn(map[string]any{"a": []any{"$n", "n=${n} ${text}", "$other", 7, ""}}, row).(map[string]any)["a"].([]any)
	for i, want := range []any{5, "n=5 Hello", "$other", 7, ""} {
		if got[i] != want {
			t.Errorf("%d: %v, want %v", i, got[i], want)
		}
	}
}

// The cases are attacks: they are for this machine, unless somebody says otherwise.
func TestRemoteIsRefused(t *testing.T) {
	for _, url := range []string{"ws://192.0.2.1/", "wss://127.0.0.1/", "http://127.0.0.1/", "ws://", "://"} {
		if _, err := RunServer(t.Context(), url, nil); err == nil {
			t.Errorf("%s: no error", url)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := RunServer(t.Context(), "ws://"+l.Addr().String(), nil); err == nil {
		t.Error("no server: no error")
	}
}
