package hostile

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
)

// A proxy understands one connection of HTTP/1.1, one request after the other.
type proxy struct {
	*Network
	client, server net.Conn
}

func (p *proxy) run() {
	defer p.client.Close()
	defer p.server.Close()
	requests, answers := bufio.NewReader(p.client), bufio.NewReader(p.server)
	for {
		r, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		if !p.exchange(r, requests, answers) {
			return
		}
	}
}

// exchange serves one request, and reports whether there may be another.
func (p *proxy) exchange(r *http.Request, requests, answers *bufio.Reader) bool {
	upgrade := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	switch {
	case p.Answer != 0:
		return p.refuse(r, p.Answer)
	case p.Token != "" && r.Header.Get("Authorization") != "Bearer "+p.Token && !strings.Contains(r.Header.Get("Sec-WebSocket-Protocol"), "bearer."+p.Token):
		return p.refuse(r, http.StatusUnauthorized)
	case upgrade && p.Upgrade == Refused:
		return p.refuse(r, http.StatusForbidden)
	case upgrade && p.Upgrade == Unheard:
		swallow(p.client, p.server)
		return false
	}
	if p.Upgrade == Stripped || p.HTTP10 {
		r.Header.Del("Upgrade")
		r.Header.Del("Connection")
	}
	if p.Body != Streams {
		r.Header.Del("X-Accel-Buffering")
	}
	if p.HTTP10 {
		r.Header.Set("Connection", "close")
	}
	if err := p.forward(r); err != nil {
		return false
	}
	resp, err := http.ReadResponse(answers, r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		p.upgraded(resp, requests, answers)
		return false
	}
	return p.answer(r, resp) && !p.HTTP10 && !r.Close && !resp.Close
}

// forward sends the request on.
func (p *proxy) forward(r *http.Request) error {
	if !p.HTTP10 {
		return r.Write(p.server)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(p.server, "%s %s HTTP/1.0\r\nHost: %s\r\nContent-Length: %d\r\n", r.Method, r.URL.RequestURI(), r.Host, len(body)); err != nil {
		return err
	}
	r.Header.Del("Content-Length")
	if err := r.Header.Write(p.server); err != nil {
		return err
	}
	_, err = p.server.Write(append([]byte("\r\n"), body...))
	return err
}

// refuse answers in place of the server.
func (p *proxy) refuse(r *http.Request, status int) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	media, body := "text/html", "<html>no</html>"
	if p.Problem != "" {
		media = "application/problem+json"
		body = fmt.Sprintf(`{"type":"urn:duplex:problem:%s","title":"Refused by the test","status":%d}`, p.Problem, status)
	}
	retry := ""
	if p.RetryAfter != "" {
		retry = "Retry-After: " + p.RetryAfter + "\r\n"
	}
	_, err := fmt.Fprintf(p.client, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s",
		status, http.StatusText(status), media, len(body), retry, body)
	return err == nil
}

func (p *proxy) upgraded(resp *http.Response, requests, answers *bufio.Reader) {
	fmt.Fprintf(p.client, "HTTP/1.1 101 Switching Protocols\r\n")
	_ = resp.Header.Write(p.client)
	_, _ = io.WriteString(p.client, "\r\n")
	if p.Upgrade == Swallowed {
		swallow(p.client, p.server)
		return
	}
	if p.CutUpgraded > 0 {
		timer := time.AfterFunc(p.CutUpgraded, func() { p.client.Close(); p.server.Close() })
		defer timer.Stop()
	}
	testnet.Relay(buffered{p.client, requests}, buffered{p.server, answers})
}

// answer sends an answer on as it comes, or as the network makes it come.
func (p *proxy) answer(r *http.Request, resp *http.Response) bool {
	version := "1.1"
	if p.HTTP10 {
		version = "1.0"
	}
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/%s %s\r\n", version, resp.Status)
	header := resp.Header.Clone()
	header.Del("Transfer-Encoding")
	header.Del("Content-Length")
	streams := resp.ContentLength < 0
	if streams && p.Body == Refusing {
		_ = p.refuse(r, http.StatusBadGateway) // an error means that the client is gone
		p.server.Close()                       // there is no end of the answer to wait for
		return false
	}
	noBody := r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
	squeeze := p.Body == Gzipped && streams && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	if squeeze {
		header.Set("Content-Encoding", "gzip")
	}
	_ = header.Write(&head)
	if noBody || !streams && !p.HTTP10 {
		if !noBody || resp.ContentLength > 0 {
			fmt.Fprintf(&head, "Content-Length: %d\r\n", max(0, resp.ContentLength))
		}
		head.WriteString("\r\n")
		if _, err := io.WriteString(p.client, head.String()); err != nil || noBody {
			return err == nil
		}
		_, err := io.Copy(p.client, resp.Body)
		return err == nil
	}
	if p.Body == Held {
		body, _ := io.ReadAll(resp.Body) // whatever there is, is sent on
		fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n", len(body))
		_, err := p.client.Write(append([]byte(head.String()), body...))
		return err == nil
	}
	if !p.HTTP10 {
		head.WriteString("Transfer-Encoding: chunked\r\n")
	}
	head.WriteString("\r\n")
	if _, err := io.WriteString(p.client, head.String()); err != nil {
		return false
	}
	// The client's end is only seen by reading, and pipelining is not for proxies
	// of this kind.
	gone := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		defer close(gone)
		var one [1]byte
		_, _ = p.client.Read(one[:])
		p.server.Close()
	})
	var to io.Writer = p.client
	if !p.HTTP10 {
		to = chunks{p.client}
	}
	var err error
	if squeeze {
		zip := gzip.NewWriter(to)
		if _, err = io.Copy(zip, resp.Body); err == nil {
			err = zip.Close()
		}
	} else {
		_, err = io.Copy(to, resp.Body)
	}
	if err == nil && !p.HTTP10 {
		_, _ = io.WriteString(p.client, "0\r\n\r\n")
	}
	p.client.Close()
	watching.Wait()
	return false
}

// chunks writes each write as a chunk.
type chunks struct{ to io.Writer }

func (c chunks) Write(p []byte) (int, error) {
	if _, err := fmt.Fprintf(c.to, "%x\r\n%s\r\n", len(p), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// buffered is a connection of which a reader has read ahead.
type buffered struct {
	net.Conn
	reader *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.reader.Read(p) }
