package server

import (
	"bufio"
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/duplexhq/duplex/home"
	"github.com/duplexhq/duplex/view"
)

// serve judges what concerns the whole server, and hands the rest on.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	answer := &recorder{ResponseWriter: w, began: time.Now()}
	if r.ProtoMajor != 2 && r.Method != http.MethodConnect { // HTTP/2 and sessions limit their writes themselves
		answer.timeout = s.config.WriteTimeout
	}
	conn := connectionOf(r.Context())
	if conn.remote != "" {
		r.RemoteAddr = conn.remote
	}
	if conn.endpoint.altSvc != "" && r.ProtoMajor < 3 {
		w.Header().Set("Alt-Svc", conn.endpoint.altSvc) // RFC 7838 §3
	}
	defer s.served(r, answer) // also if the handler panics
	s.route(answer, r)
}

// served is for the end of a request, unless a lease tells of it.
func (s *Server) served(r *http.Request, answer *recorder) {
	if answer.taken {
		return
	}
	if answer.hijacked != nil {
		if answer.leased {
			return
		}
		s.connections.leave(answer.hijacked)
	} else {
		answer.hurry() // for what net/http has kept
	}
	line := newRequestLine(r, answer)
	line.stays = answer.hijacked != nil || answer.streams() || r.Method == http.MethodConnect && answer.status == http.StatusOK
	s.logRequest(&line, answer.bytes)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	conn := connectionOf(r.Context())
	if r.ProtoMajor == 1 && conn.watched.ambiguous(r) {
		w.Header().Set("Connection", "close")
	}
	switch {
	case conn.refused:
		tooManyConnections.write(w, r)
	case s.challenged(w, r):
	case conn.endpoint.loopback && !s.hosts.admits(r.Host, !r.ProtoAtLeast(1, 1)):
		misdirectedHost.write(w, r)
	case !s.progress.enter():
		shuttingDown.write(w, r)
	default:
		defer s.progress.leave()
		s.answer(w, r)
	}
}

// challenged reports whether it has answered an authority that wants to know
// whose server this is.
func (s *Server) challenged(w http.ResponseWriter, r *http.Request) bool {
	c, ok := s.certificates.(*acmeCertificates)
	return ok && c.answers(w, r)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	script, isScript := scripts()[r.URL.Path]
	probe := r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
	switch {
	case r.ProtoMajor > 1 && !expected(r):
		w.WriteHeader(http.StatusExpectationFailed) // as net/http does
	case r.URL.Path == "/" && view.WantsSession(r):
		s.view.ServeHTTP(w, front(r))
	case isScript:
		script.serve(w, r)
	case !probe && !home.Serves(r.URL.Path):
		s.view.ServeHTTP(w, r) // what is not below /topics it refuses with 404
	case !isReading(w, r):
	case !probe:
		home.ServeHTTP(w, r)
	case r.URL.Path == "/healthz":
		healthy(w)
	default:
		switch {
		case s.log.Ready() != nil:
			notReady.write(w, r)
		case s.certificates != nil && len(s.certificates.missing()) > 0:
			noCertificate.write(w, r)
		default:
			healthy(w)
		}
	}
}

const readingMethods = "GET, HEAD, OPTIONS"

// isReading reports whether the request is GET or HEAD. Others are answered.
func isReading(w http.ResponseWriter, r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return true
	}
	w.Header().Set("Allow", readingMethods)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
	} else {
		methodNotAllowed.write(w, r)
	}
	return false
}

// expected reports whether there is an expectation that can be met (RFC 9110
// §10.1.1): over HTTP/1.1, net/http answers others.
func expected(r *http.Request) bool {
	e := r.Header.Get("Expect")
	return e == "" || strings.EqualFold(e, "100-continue")
}

// healthy answers a load balancer. A server that stops answers it with 503,
// like everybody.
func healthy(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", "3") // HTTP/3 would not say it of a HEAD
	_, _ = w.Write([]byte("ok\n"))        // an error means that the prober is gone
}

// front is the request for a session that was made to "/", as one for all topics.
func front(r *http.Request) *http.Request {
	topics := new(http.Request)
	*topics = *r
	topics.URL = new(*r.URL)
	topics.URL.Path, topics.URL.RawPath = "/topics", ""
	return topics
}

// A requestLine is what the log says of a request.
type requestLine struct {
	method, path, remote string
	began                int64 // nanoseconds of Unix: it is kept for many connections
	status               int32
	major, minor         uint8 // version of HTTP
	stays                bool  // open, for longer than its answer takes
}

func newRequestLine(r *http.Request, answer *recorder) requestLine {
	// The query may hold a token, and the body is nobody's business.
	return requestLine{method: r.Method, path: r.URL.Path, remote: r.RemoteAddr, began: answer.began.UnixNano(),
		status: int32(answer.status), major: uint8(r.ProtoMajor), minor: uint8(r.ProtoMinor)}
}

// kept is the line without the rest of the request, whose query may be long.
func (l requestLine) kept() requestLine {
	text, n := l.method+l.path, len(l.method)
	l.method, l.path = text[:n], text[n:]
	return l
}

// version is as Endpoint.Versions has it.
func (l *requestLine) version() string {
	if l.major > 1 {
		return "HTTP/" + strconv.Itoa(int(l.major))
	}
	return "HTTP/1." + strconv.Itoa(int(l.minor))
}

// logRequest writes one line. Events pass through too often for more than Debug; what
// stays open is Info, and so its end is noticed.
func (s *Server) logRequest(line *requestLine, bytes int64) {
	level := slog.LevelDebug
	switch {
	case line.status == http.StatusInternalServerError:
		level = slog.LevelError
	case line.status == http.StatusServiceUnavailable:
		level = slog.LevelWarn
	case line.stays:
		level = slog.LevelInfo
	}
	s.config.Logger.LogAttrs(context.Background(), level, "request",
		slog.String("method", line.method),
		slog.String("path", line.path),
		slog.Int("status", int(line.status)),
		slog.String("version", line.version()),
		slog.Int64("bytes", bytes),
		slog.Duration("took", time.Since(time.Unix(0, line.began))),
		slog.String("remote", line.remote),
	)
}

// A recorder notes what an answer was.
type recorder struct {
	http.ResponseWriter
	began    time.Time
	timeout  time.Duration // of a write that does not move; 0 is none
	status   int
	bytes    int64
	hijacked net.Conn // taken from net/http
	leased   bool     // if it is hijacked
	taken    bool     // the answer goes on without the handler
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 { // 1xx come before the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write gives each part of p its time: only who takes nothing is cut, not who is
// slow.
func (w *recorder) Write(p []byte) (written int, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	for {
		part := p[:min(len(p), 16<<10)]
		w.hurry()
		n, err := w.ResponseWriter.Write(part)
		w.bytes += int64(n)
		written += n
		if p = p[len(part):]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// hurry gives what is written next its time. net/http lifts that at the end of the
// answer.
func (w *recorder) hurry() {
	if w.timeout > 0 {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.timeout)) // fails where Write does
	}
}

// Hijack notes that the connection is not net/http's any more.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, stream, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		conn = unwatched(conn)
		w.hijacked, w.status = conn, cmp.Or(w.status, http.StatusSwitchingProtocols)
	}
	return conn, stream, err
}

// streams reports whether the answer was one without an end.
func (w *recorder) streams() bool {
	return w.Header().Get("X-Accel-Buffering") == "no" // PROTOCOL.md §5.8
}
