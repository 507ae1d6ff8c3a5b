package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// patience is how long a client may do nothing between two connections.
const patience = 30 * time.Second

// RunClient runs the cases against a client, as a server on l, which is closed at the end. The client
// has to
//
//   - connect to /getCaseCount, where one text message is the number of cases;
//   - connect to /runCase?case=N&agent=NAME for each N from 1, and send back each message as it
//     is, until the connection ends. A handshake that fails is such an end;
//   - connect to /updateReports?agent=NAME at last.
//
// A case that it did not run has failed. The error is for a client that did not come to an end.
func RunClient(ctx context.Context, l net.Listener, opts *Options) ([]Result, error) {
	opts = opts.withDefaults()
	r := &reception{
		Options: opts,
		cases:   opts.cases(Client),
		done:    make(chan struct{}),
		seen:    make(chan struct{}, 1),
		keys:    map[string]bool{},
	}
	r.results = make([]Result, len(r.cases))
	for i, c := range r.cases {
		r.results[i] = Result{Case: c.ID, RFC: c.RFC, Quote: c.Quote, Level: c.Level, Verdict: Fail,
			Expected: "a client that runs the case", Got: "none"}
	}
	var err error
	var serving sync.WaitGroup
	serving.Go(func() { r.serve(ctx, l) }) // ends when l is closed
	select {
	case <-r.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-r.silence(ctx):
		err = errors.New("conformance: the client has stopped before the last case")
	}
	l.Close()
	serving.Wait()
	return r.results, err
}

// reception is the server that a client under test talks to.
type reception struct {
	*Options
	cases []Case
	done  chan struct{} // closed when the client says that it is done
	seen  chan struct{} // holds one token after each connection

	mu      sync.Mutex // guards what follows
	results []Result
	keys    map[string]bool // of the connections so far
	isDone  bool
}

// silence gives a channel that is closed once the client has come, and then not again for a while.
func (r *reception) silence(ctx context.Context) <-chan struct{} {
	silent := make(chan struct{})
	go func() { // ends with the run, by ctx or done, or by itself
		defer close(silent)
		var limit <-chan time.Time // none before the first connection
		for {
			select {
			case <-r.seen:
				limit = time.After(patience)
			case <-limit:
				return
			case <-r.done:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return silent
}

func (r *reception) serve(ctx context.Context, l net.Listener) {
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case r.seen <- struct{}{}:
		default:
		}
		connections.Go(func() { // ends after a case, whose waits are bounded
			defer conn.Close()
			r.receive(ctx, conn)
		})
	}
}

// clientRequest is a connection whose handshake is to be answered.
type clientRequest struct {
	conn     net.Conn
	in       *bufio.Reader
	head     head
	repeated bool // its key was another connection's
}

func (r *reception) receive(ctx context.Context, conn net.Conn) {
	conn.SetDeadline(time.Now().Add(r.Timeout))
	in := bufio.NewReader(conn)
	request, err := http.ReadRequest(in)
	if err != nil {
		return // a scan of ports, or a client that will miss its case
	}
	t := &trial{
		Options: r.Options,
		under:   Client,
		host:    conn.LocalAddr().String(),
		path:    request.RequestURI,
		request: &clientRequest{conn: conn, in: in, head: requestHead(request)},
	}
	t.request.repeated = r.repeated(request.Header.Get("Sec-WebSocket-Key"))
	t.deflate = answer(t.request.head.field("Sec-WebSocket-Extensions")) != ""
	switch request.URL.Path {
	case "/getCaseCount":
		count := step{Send: []frame{{Opcode: text, payload: payload{Text: strconv.Itoa(len(r.cases))}}}}
		t.c = &Case{steps: []step{{Accept: &handshake{}}, count}}
		t.run(ctx)
	case "/runCase":
		r.runCase(ctx, t, request.FormValue("case"))
	case "/updateReports":
		t.c = &Case{steps: []step{{Accept: &handshake{}}}}
		t.run(ctx)
		r.finish()
	default:
		fmt.Fprint(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
}

func (r *reception) runCase(ctx context.Context, t *trial, number string) {
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || n < 1 || n > len(r.cases) {
		fmt.Fprint(t.request.conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	t.c = &r.cases[n-1]
	result := t.run(ctx)
	r.mu.Lock()
	r.results[n-1] = result
	r.mu.Unlock()
}

func (r *reception) repeated(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.keys[key]
	r.keys[key] = true
	return seen
}

func (r *reception) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isDone {
		r.isDone = true
		close(r.done)
	}
}
