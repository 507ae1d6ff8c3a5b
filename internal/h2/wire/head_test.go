package wire

import (
	"testing"

	"golang.org/x/net/http2/hpack"
)

func TestParseHead(t *testing.T) {
	for _, test := range []struct {
		name   string
		fields []string
		want   string // what is wrong
	}{
		{"simple", []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a"}, ""},
		{"a host instead", []string{":method", "GET", ":scheme", "https", ":path", "/", "host", "a"}, ""},
		{"the same twice", []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a", "host", "A"}, ""},
		{"OPTIONS *", []string{":method", "OPTIONS", ":scheme", "https", ":path", "*"}, ""},
		{"te", []string{":method", "GET", ":scheme", "https", ":path", "/", "te", "trailers"}, ""},
		{"CONNECT", []string{":method", "CONNECT", ":authority", "a:1"}, ""},
		{"extended CONNECT", []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "a"}, ""},
		{"no method", []string{":scheme", "https", ":path", "/"}, "no method"},
		{"no scheme", []string{":method", "GET", ":path", "/"}, "bad scheme"},
		{"no path", []string{":method", "GET", ":scheme", "https"}, "bad path"},
		{"empty path", []string{":method", "GET", ":scheme", "https", ":path", ""}, "empty pseudo-header field"},
		{"a path without /", []string{":method", "GET", ":scheme", "https", ":path", "a"}, "bad path"},
		{"GET *", []string{":method", "GET", ":scheme", "https", ":path", "*"}, "bad path"},
		{"ftp", []string{":method", "GET", ":scheme", "ftp", ":path", "/"}, "bad scheme"},
		{"a method with a space", []string{":method", "GE T", ":scheme", "https", ":path", "/"}, "no method"},
		{":status", []string{":method", "GET", ":scheme", "https", ":path", "/", ":status", "200"}, "unknown pseudo-header field"},
		{"twice", []string{":method", "GET", ":method", "GET", ":scheme", "https", ":path", "/"}, "pseudo-header field twice"},
		{"after others", []string{":method", "GET", "a", "b", ":scheme", "https", ":path", "/"}, "pseudo-header field after others"},
		{"a line end in the path", []string{":method", "GET", ":scheme", "https", ":path", "/a\r\nb"}, "bad value of a pseudo-header field"},
		{"upper case", []string{":method", "GET", ":scheme", "https", ":path", "/", "Accept", "x"}, "upper case in the name of a field"},
		{"a space in a name", []string{":method", "GET", ":scheme", "https", ":path", "/", "a b", "x"}, "bad field"},
		{"no name", []string{":method", "GET", ":scheme", "https", ":path", "/", "", "x"}, "bad field"},
		{"NUL", []string{":method", "GET", ":scheme", "https", ":path", "/", "a", "x\x00"}, "bad field"},
		{"LF", []string{":method", "GET", ":scheme", "https", ":path", "/", "a", "x\ny"}, "bad field"},
		{"a space before a value", []string{":method", "GET", ":scheme", "https", ":path", "/", "a", " x"}, "bad field"},
		{"a tab after a value", []string{":method", "GET", ":scheme", "https", ":path", "/", "a", "x\t"}, "bad field"},
		{"connection", []string{":method", "GET", ":scheme", "https", ":path", "/", "connection", "close"}, "connection-specific field"},
		{"transfer-encoding", []string{":method", "GET", ":scheme", "https", ":path", "/", "transfer-encoding", "chunked"}, "connection-specific field"},
		{"upgrade", []string{":method", "GET", ":scheme", "https", ":path", "/", "upgrade", "websocket"}, "connection-specific field"},
		{"te gzip", []string{":method", "GET", ":scheme", "https", ":path", "/", "te", "gzip"}, "te is not trailers"},
		{"another host", []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a", "host", "b"}, "host is not :authority"},
		{"two hosts", []string{":method", "GET", ":scheme", "https", ":path", "/", "host", "a", "host", "b"}, "two hosts"},
		{"userinfo", []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "u:p@a"}, "bad authority"},
		{"a space in the authority", []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a b"}, "bad authority"},
		{"length x", []string{":method", "GET", ":scheme", "https", ":path", "/", "content-length", "x"}, "bad content-length"},
		{"length +1", []string{":method", "GET", ":scheme", "https", ":path", "/", "content-length", "+1"}, "bad content-length"},
		{"length 2^63", []string{":method", "GET", ":scheme", "https", ":path", "/", "content-length", "9223372036854775808"}, "bad content-length"},
		{"two lengths", []string{":method", "GET", ":scheme", "https", ":path", "/", "content-length", "1", "content-length", "2"}, "bad content-length"},
		{"CONNECT with a path", []string{":method", "CONNECT", ":authority", "a:1", ":path", "/"}, "CONNECT is with an authority only"},
		{"CONNECT to nobody", []string{":method", "CONNECT"}, "CONNECT is with an authority only"},
		{":protocol of GET", []string{":method", "GET", ":protocol", "websocket", ":scheme", "https", ":path", "/"}, ":protocol without CONNECT, or not offered"},
		{"extended CONNECT without a path", []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a"}, "bad path"},
	} {
		var fields []hpack.HeaderField
		for i := 0; i < len(test.fields); i += 2 {
			fields = append(fields, hpack.HeaderField{Name: test.fields[i], Value: test.fields[i+1]})
		}
		if _, got := parseHead(fields, true); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	connect := []hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":protocol", Value: "websocket"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: "a"}}
	if _, got := parseHead(connect, false); got == "" {
		t.Error("extended CONNECT was not offered")
	}
}
