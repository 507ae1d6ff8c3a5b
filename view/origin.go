package view

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// A webOrigin is who a page is for a browser (RFC 6454 §4), in the form in
// which two are the same exactly if they are equal.
type webOrigin struct{ scheme, host, port string }

// parseOrigin reads scheme "://" host [ ":" port ] and nothing more.
func parseOrigin(s string) (webOrigin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || !strings.EqualFold(u.Scheme+"://"+u.Host, s) || !isHost(u.Host) {
		return webOrigin{}, false
	}
	return newOrigin(strings.ToLower(u.Scheme), u.Host), true
}

// newOrigin fills in the port that the scheme stands for.
func newOrigin(scheme, host string) webOrigin {
	u := url.URL{Host: strings.ToLower(host)}
	o := webOrigin{scheme, u.Hostname(), u.Port()}
	if o.port == "" {
		switch scheme {
		case "http":
			o.port = "80"
		case "https":
			o.port = "443"
		}
	}
	return o
}

// isHost refuses what no browser sends as the host of an origin: wildcards,
// letters that are not ASCII, a colon without a port.
func isHost(host string) bool {
	for _, c := range []byte(host) {
		if c <= ' ' || c > '~' || c == '*' {
			return false
		}
	}
	return !strings.HasSuffix(host, ":")
}

// isOwn reports whether the request comes from a page of this server, as it is
// addressed (PROTOCOL.md §10.1). A proxy may have taken TLS away, never added
// it.
func (o webOrigin) isOwn(r *http.Request) bool {
	if o.scheme != "https" && (o.scheme != "http" || r.TLS != nil) {
		return false
	}
	return o == newOrigin(o.scheme, r.Host)
}

// An originPolicy says what pages of other origins may do.
type originPolicy struct {
	allowed map[webOrigin]bool
	any     bool
	// sites judges what browsers say by Sec-Fetch-Site.
	sites *http.CrossOriginProtection
}

// newOriginPolicy reads Options.AllowOrigins.
func newOriginPolicy(allow []string) (*originPolicy, error) {
	p := &originPolicy{allowed: make(map[webOrigin]bool), sites: http.NewCrossOriginProtection()}
	for _, s := range allow {
		if s == "*" {
			p.any = true
			continue
		}
		o, ok := parseOrigin(s)
		if !ok {
			return nil, fmt.Errorf(`allowed origin %q: want "*", or a scheme, a host and maybe a port, as https://example.com`, s)
		}
		p.allowed[o] = true
	}
	return p, nil
}

// apply refuses what the request's origin may not do, and sets the fields that
// let allowed origins see the answer (PROTOCOL.md §10.1, §10.2). Preflights
// are answered as all OPTIONS.
func (p *originPolicy) apply(w http.ResponseWriter, r *http.Request) *Problem {
	fields := r.Header["Origin"]
	if len(fields) == 0 {
		return p.checkSite(r)
	}
	o, ok := parseOrigin(fields[0])
	ok = ok && len(fields) == 1
	switch {
	case ok && p.allowed[o]:
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		allowOrigin(w, r, fields[0])
	case ok && o.isOwn(r):
		return p.checkSite(r)
	case p.any && !hasCredentials(r):
		allowOrigin(w, r, "*")
	case r.Method == http.MethodOptions:
	case writes(r), isSession(r), hasCredentials(r):
		return newProblem("origin-refused", "--allow-origin does not name it")
	}
	return nil
}

// checkSite refuses writes of which the browser says, by Sec-Fetch-Site, that
// another site makes them. Origin may be missing, or too coarse behind a proxy
// that takes TLS away.
func (p *originPolicy) checkSite(r *http.Request) *Problem {
	// Without the field, only the Origin would be judged, which was done.
	if r.Header.Get("Sec-Fetch-Site") == "" || !writes(r) || p.sites.Check(r) == nil {
		return nil
	}
	return newProblem("origin-refused", "the request comes from another site")
}

func writes(r *http.Request) bool {
	return r.Method == http.MethodPost || r.Method == http.MethodDelete
}

// hasCredentials reports whether the answer may be for one user only.
func hasCredentials(r *http.Request) bool {
	return len(r.Header["Cookie"]) > 0 || len(r.Header["Authorization"]) > 0
}

// allowOrigin lets the pages of origin see the answer.
func allowOrigin(w http.ResponseWriter, r *http.Request, origin string) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", "ETag, Link, Preference-Applied, Retry-After")
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "DELETE, GET, HEAD, POST, QUERY")
		header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer")
		header.Set("Access-Control-Max-Age", "600") // seconds; a changed list of origins is noticed soon
	}
}
