package home

import "net/http"

// needed are the files of the page that it does not show without, and what a
// browser is told that they are.
var needed = []struct{ name, as string }{
	{"look.css", "rel=preload; as=style"},
	{"home.css", "rel=preload; as=style"},
	{"home.js", "rel=modulepreload"},
}

// sendEarly has the files come with the page, and not after it: pushed where the
// client allows that (RFC 9113 §8.4), which browsers do not any more, else named
// by 103 Early Hints (RFC 8297). Over HTTP/1.1 there are clients that take a 103
// for the answer, and nginx, which waits for ever.
func sendEarly(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 || r.Method != http.MethodGet || r.Header.Get("If-None-Match") != "" { // it has them
		return
	}
	if push(w) {
		return
	}
	header := w.Header()
	for _, file := range needed {
		header.Add("Link", "<"+directory+"/"+file.name+">; "+file.as)
	}
	w.WriteHeader(http.StatusEarlyHints)
	header.Del("Link")
}

// push reports false if the client wants no pushes.
func push(w http.ResponseWriter) bool {
	pusher, ok := pusherOf(w)
	for _, file := range needed {
		ok = ok && pusher.Push(directory+"/"+file.name, nil) == nil
	}
	return ok
}

func pusherOf(w http.ResponseWriter) (http.Pusher, bool) {
	for {
		switch is := w.(type) {
		case http.Pusher:
			return is, true
		case interface{ Unwrap() http.ResponseWriter }:
			w = is.Unwrap()
		default:
			return nil, false
		}
	}
}
