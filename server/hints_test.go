package server

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
)

// A browser hears what the start page needs before it has the page, over HTTP/2
// and HTTP/3.
func TestEarlyHints(t *testing.T) {
	_, versions := everyVersion(t, &Config{})
	for _, v := range versions {
		for _, test := range []struct {
			fields []string
			want   int
		}{
			{[]string{"Accept", "text/html"}, 1},
			{[]string{"Accept", "text/html", "If-None-Match", `"x"`}, 0},
			{[]string{"Accept", "*/*"}, 0},
		} {
			want := test.want
			if strings.HasPrefix(v.name, "HTTP/1.1") {
				want = 0
			}
			var hints []string
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				if code != http.StatusEarlyHints {
					t.Errorf("%s: %d", v.name, code)
				}
				hints = append(hints, strings.Join(header.Values("Link"), ", "))
				return nil
			}})
			response := v.doUntil(t, ctx, "GET", "/", "", test.fields...)
			page, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK || len(hints) != want {
				t.Fatalf("%s, %v: %s, %v, hints %q, want %d", v.name, test.fields, response.Status, err, hints, want)
			}
			if want == 0 {
				continue
			}
			for link := range strings.SplitSeq(hints[0], ", ") {
				path, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
				if !strings.Contains(string(page), `"`+path+`"`) {
					t.Errorf("%s: the page does not need %s", v.name, path)
				}
				if file := v.do(t, "GET", path, ""); file.StatusCode != http.StatusOK {
					t.Errorf("%s: %s: %s", v.name, path, file.Status)
				}
			}
		}
	}
}
