package server

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// A problem is an answer that refuses (RFC 9457, PROTOCOL.md §9).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

var (
	misdirectedHost = problem{
		Type: "urn:duplex:problem:misdirected-host", Title: "This server is not asked for under that Host", Status: http.StatusMisdirectedRequest,
		Detail: "this address is for this machine only; --allow-host allows another name",
	}
	shuttingDown = problem{
		Type: "urn:duplex:problem:shutting-down", Title: "The server is shutting down", Status: http.StatusServiceUnavailable,
	}
	methodNotAllowed = problem{
		Type: "urn:duplex:problem:method-not-allowed", Title: "The path does not take this method", Status: http.StatusMethodNotAllowed,
	}
	notReady = problem{
		Type: "urn:duplex:problem:unavailable", Title: "The log cannot be read or written now", Status: http.StatusServiceUnavailable,
	}
	noCertificate = problem{
		Type: "urn:duplex:problem:unavailable", Title: "There is no certificate yet", Status: http.StatusServiceUnavailable,
	}
	tooManyConnections = problem{
		Type: "urn:duplex:problem:limit-reached", Title: "A limit of the server is reached", Status: http.StatusServiceUnavailable,
		Detail: "there are as many connections as --max-connections, or the limit of open files, allows",
	}
)

// write answers with the problem. What concerns the whole connection is the last
// answer of it: over HTTP/2, where "close" is a GOAWAY, a wrong Host does not.
func (p problem) write(w http.ResponseWriter, r *http.Request) {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // it holds strings and a number
	}
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept, Prefer, Last-Event-ID, Origin")
	header.Set("X-Content-Type-Options", "nosniff")
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusMisdirectedRequest && r.ProtoMajor == 1 {
		header.Set("Connection", "close")
	}
	if p.Status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead { // RFC 9110 §9.3.2
		_, _ = w.Write(body) // an error means that the client is gone
	}
}
