package check

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/duplexhq/duplex/view/viewtest"
)

// A Host that is given goes with each request, whatever its transport.
func TestHost(t *testing.T) {
	topics := viewtest.New(t, nil, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "events.example" && r.Method != "PRI" { // HTTP/2, of which the server knows nothing
			t.Errorf("%s %s asks %s", r.Method, r.URL, r.Host)
		}
		topics.ServeHTTP(w, r)
	}))
	defer server.Close()
	defer topics.Close()
	report, err := Run(t.Context(), server.URL, &Options{Header: http.Header{"Host": {"events.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := causes(report); got != "ok ok ok ok ok ok" {
		t.Error(got)
	}
}
