package sse

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// "if res's status is not 200, or if res's `Content-Type` is not
// `text/event-stream`, then fail the connection." (§9.2.2)
func TestEventsFails(t *testing.T) {
	for _, code := range []int{201, 206, 304, 400, 401, 403, 404, 410, 421, 500, 502, 504} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					w.Header().Set("Problem", "yes")
					w.WriteHeader(code)
					_, _ = io.WriteString(w, "data: x\n\n"+strings.Repeat("y", 8<<10))
				})
				_, client := serve(t, &http.Server{Handler: s})
				got, err := collect(t.Context(), "http://test/", exactly(client))
				e, ok := errors.AsType[*ResponseError](err)
				if !ok || got != nil || e.StatusCode != code || e.Header.Get("Problem") != "yes" || !strings.Contains(e.Error(), strconv.Itoa(code)) {
					t.Errorf("got %q, %v", got, err)
				}
				if code != http.StatusNotModified && (len(e.Body) != 4<<10 || !strings.HasPrefix(string(e.Body), "data: x")) {
					t.Errorf("%d bytes of body", len(e.Body))
				}
				if len(s.visits()) != 1 {
					t.Errorf("%d requests", len(s.visits()))
				}
			})
		})
	}
}

func TestEventsContentType(t *testing.T) {
	for contentType, isStream := range map[string]bool{
		"text/event-stream":                  true,
		"text/event-stream; charset=utf-8":   true,
		"text/event-stream;charset=latin1":   true, // "There is no way to specify another character encoding." (§9.2.1)
		"text/event-stream;x bogus":          true, // a browser accepts that
		"Text/Event-Stream":                  true,
		"text/html":                          false,
		"text/event-streams":                 false,
		"application/json;text/event-stream": false,
		"":                                   false,
	} {
		t.Run(contentType, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Content-Type"] = []string{contentType}
					_, _ = io.WriteString(w, "data: x\n\n")
				})
				_, client := serve(t, &http.Server{Handler: s})
				got, err := collect(t.Context(), "http://test/", exactly(client))
				e, failed := errors.AsType[*ResponseError](err)
				if failed == isStream || isStream != slices.Equal(got, []string{"message||x"}) {
					t.Errorf("got %q, %v", got, err)
				}
				if failed && !strings.Contains(e.Error(), strconv.Quote(contentType)) {
					t.Errorf("error %q does not name the type", e)
				}
			})
		})
	}
}

// An answer that is no stream cannot hold the loop up by never ending.
func TestEventsFailsThoughBodyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "no")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		_, client := serve(t, &http.Server{Handler: s})
		_, err := collect(t.Context(), "http://test/", exactly(client))
		if e, ok := errors.AsType[*ResponseError](err); !ok || string(e.Body) != "no" || time.Since(s.start) != errorBodyWait {
			t.Errorf("got %v after %v", err, time.Since(s.start))
		}
	})
}

// The hooks hear of the answer and its comments, and events have their origin:
// "its origin to the origin of the event stream's final URL (i.e., the URL
// after redirects)" (§9.2.6)
func TestEventsOriginAndHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://Other.example:80/path", http.StatusTemporaryRedirect)
			},
			stream(": hello\ndata: x\n\n"),
		)
		_, client := serve(t, &http.Server{Handler: s})
		opts := exactly(client)
		opened, comments := 0, ""
		opts.Opened = func(resp *http.Response) {
			if opened++; resp.Header.Get("Content-Type") != "text/event-stream" {
				t.Errorf("opened with %v", resp.Header)
			}
		}
		opts.Comment = func(text []byte) { comments += string(text) }
		for event, err := range Events(t.Context(), "http://test:8080/", opts) {
			if err != nil || event.Origin != "http://other.example" {
				t.Errorf("origin %q, %v", event.Origin, err)
			}
			break
		}
		if opened != 1 || comments != "hello" {
			t.Errorf("opened %d times, comments %q", opened, comments)
		}
	})
	for url, want := range map[string]string{
		"http://a.example/x?y":      "http://a.example",
		"https://a.example:443/":    "https://a.example",
		"https://a.example:80/":     "https://a.example:80",
		"http://A.example:8080":     "http://a.example:8080",
		"http://u:p@[2001:DB8::80]": "http://[2001:db8::80]",
		"http://a.example:":         "http://a.example",
	} {
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := origin(r.URL); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
