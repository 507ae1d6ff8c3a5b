package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// members asks who is on a topic.
func members(t *testing.T, url, name string) string {
	t.Helper()
	resp, err := http.Get(url + "/topics/$presence/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// The flag, the environment and the file say the same.
func TestServePresence(t *testing.T) {
	check := func(url string) {
		t.Helper()
		for name, want := range map[string]string{"room/1": `"members":[]`, "a,b": `"members":[]`, "hall": "presence-off"} {
			if got := members(t, url, name); !strings.Contains(got, want) {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
	check(serve(t, "--presence", "room/*", "--presence", "a,b", "--presence-grace", "0s", "--max-members", "0"))
	file := filepath.Join(t.TempDir(), "duplex.yaml")
	if err := os.WriteFile(file, []byte("presence: [room/*, 'a,b']\npresence-grace: 1s\nmax-members: 10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(serve(t, "--config", file))
	t.Setenv("DUPLEX_PRESENCE", "room/*\na,b")
	check(serve(t))
}

// --max-members counts.
func TestServeMaxMembers(t *testing.T) {
	url := serve(t, "--presence", "room", "--max-members", "1")
	for i, want := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		resp, err := http.Get(fmt.Sprint(url, "/topics/room?as=sse&member=", i))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("member %d: %s, want %d", i, resp.Status, want)
		}
	}
}

func TestServeRefusesPresence(t *testing.T) {
	for want, args := range map[string][]string{
		`--presence "a*b"`:                          {"--presence", "a*b"},
		`"$presence/**" is of the system's topics`:  {"--presence", "$presence/**"},
		"--presence-grace: must not be less than 0": {"--presence", "a", "--presence-grace=-1s"},
	} {
		if _, notes := duplex(t, exitUsage, "", append([]string{"serve", "--memory", "--listen", "127.0.0.1:0"}, args...)...); !strings.Contains(notes, want) {
			t.Errorf("%q: %q, want %q", args, notes, want)
		}
	}
}

// duplex sub --member is on the topic, on each transport that can be.
func TestSubMember(t *testing.T) {
	url := serve(t, "--presence", "room", "--presence-grace", "0s")
	for _, transport := range []string{"websocket", "sse", "stream", "longpoll"} {
		for _, topics := range [][]string{{"room"}, {"room", "other"}} {
			args := append([]string{"sub", "--transport", transport, "--member", "Ada L.", "--limit", "1", "--server", url}, topics...)
			sub := begin(t, nil, args...)
			sub.err.wait(t, "subscribed ("+transport+")")
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // a longpoll begins after its subscription
				got := members(t, url, "room")
				if strings.Contains(got, `"members":[{"member":"Ada L.","verified":false}]`) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s %q: %s", transport, topics, got)
				}
			}
			duplex(t, exitDone, "", "pub", "room", "x", "--server", url)
			sub.end(exitDone)
		}
	}
}
