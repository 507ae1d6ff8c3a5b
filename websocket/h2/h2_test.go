package h2

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// RFC 8441 §3: "Upon receipt of SETTINGS_ENABLE_CONNECT_PROTOCOL with a value of 1, a client MAY
// use the Extended CONNECT".
func TestServersOfferIt(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	settings, err := firstSettings(conn)
	if err != nil || offers(settings) != Enabled() {
		t.Errorf("got %x, %v; Enabled says %v", settings, err, Enabled())
	}
	if set := os.Getenv("GODEBUG"); !strings.Contains(set, "http2xconnect=0") && !Enabled() {
		t.Errorf("not enabled with GODEBUG=%q", set)
	}
}

func TestOffers(t *testing.T) {
	for settings, want := range map[string]bool{
		"":                         false,
		"\x00\x08\x00\x00\x00\x01": true,
		"\x00\x08\x00\x00\x00\x00": false,
		"\x00\x03\x00\x00\x00\xfa\x00\x08\x00\x00\x00\x01": true,
		"\x00\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00": false,
		"\x00\x08\x00\x00\x00":                             false,
	} {
		if got := offers([]byte(settings)); got != want {
			t.Errorf("%x: got %v", settings, got)
		}
	}
}

// What is in GODEBUG at the start of a process decides, and is there again afterwards.
func TestGODEBUG(t *testing.T) {
	if os.Getenv("H2_TEST_CHILD") != "" {
		value, set := os.LookupEnv("GODEBUG")
		os.Stdout.WriteString(strings.TrimSpace("GODEBUG " + value))
		if !set {
			os.Stdout.WriteString(" is not set")
		}
		if Enabled() {
			os.Stdout.WriteString(", enabled;")
		} else {
			os.Stdout.WriteString(", not enabled;")
		}
		return
	}
	for _, test := range []struct {
		variable string
		want     string
	}{
		{"", "GODEBUG is not set, enabled;"},
		{"GODEBUG=", "GODEBUG, enabled;"},
		{"GODEBUG=http2client=1", "GODEBUG http2client=1, enabled;"},
		{"GODEBUG=http2xconnect=1", "GODEBUG http2xconnect=1, enabled;"},
		{"GODEBUG=http2client=1,http2xconnect=0", "GODEBUG http2client=1,http2xconnect=0, not enabled;"},
		{"GODEBUG=http2server=0", "GODEBUG http2server=0, not enabled;"},
	} {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGODEBUG$")
		for _, variable := range os.Environ() {
			if !strings.HasPrefix(variable, "GODEBUG=") {
				child.Env = append(child.Env, variable)
			}
		}
		// Processes with the race detector sleep before they exit.
		child.Env = append(child.Env, "H2_TEST_CHILD=1", "GORACE=atexit_sleep_ms=0")
		if test.variable != "" {
			child.Env = append(child.Env, test.variable)
		}
		out, err := child.Output()
		if err != nil || !strings.HasPrefix(string(out), test.want) {
			t.Errorf("%s: got %q, %v; want %q", test.variable, out, err, test.want)
		}
	}
}
