// Command server is a WebSocket server made with the library that its flag
// names. On /echo it sends each message back, on /fanout each message to all
// connections there, and so what is posted to /fanout.
//
// Each library is used as its documentation recommends for speed, in a file of
// its own.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
)

// library serves both paths with one library, until the listener fails.
type library struct {
	serve    func(net.Listener, settings) error
	deflates bool // it can do permessage-deflate
	posts    bool // what is posted to /fanout is published
	streams  bool // it has event streams in place of WebSockets
}

type settings struct {
	readLimit int64 // bytes of a message
	deflate   bool  // without context takeover, at level 1
}

var libraries = map[string]library{
	"duplex-event":     {serve: serveDuplexEvent, deflates: true},
	"duplex-goroutine": {serve: serveDuplex, deflates: true},
	"gorilla":          {serve: serveGorilla, deflates: true, posts: true},
	"coder":            {serve: serveCoder, deflates: true, posts: true},
	"gobwas":           {serve: serveGobwas},
	"gws":              {serve: serveGws, deflates: true, posts: true},
	"net/http":         {serve: serveStreams, posts: true, streams: true},
}

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1:], os.Stdout); err != nil {
		log.Fatal("server: ", err)
	}
}

// run says on out where it listens.
func run(args []string, out io.Writer) error {
	names := strings.Join(slices.Sorted(maps.Keys(libraries)), ", ")
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	name := flags.String("lib", "", "library: "+names)
	address := flags.String("listen", "127.0.0.1:9001", "address to listen on; port 0 takes a free one")
	var s settings
	flags.Int64Var(&s.readLimit, "read-limit", 32<<20, "bytes of the longest message that is taken")
	flags.BoolVar(&s.deflate, "deflate", false, "permessage-deflate without context takeover")
	if err := flags.Parse(args); err != nil {
		return err
	}
	lib, known := libraries[*name]
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case !known:
		return fmt.Errorf("-lib %q: must be one of %s", *name, names)
	case s.readLimit <= 0:
		return fmt.Errorf("-read-limit %d: must be more than 0", s.readLimit)
	case s.deflate && !lib.deflates:
		return fmt.Errorf("-deflate: %s does not do permessage-deflate here", *name)
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "listening on %s\n", listener.Addr()); err != nil {
		return err
	}
	return lib.serve(listener, s)
}

// serveHTTP serves the two paths by net/http. What is posted is published, if
// publish is not nil.
func serveHTTP(listener net.Listener, echo, fanout http.HandlerFunc, publish func(text []byte)) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/fanout", fanout)
	if publish != nil {
		mux.HandleFunc("POST /fanout", func(w http.ResponseWriter, r *http.Request) {
			text, err := io.ReadAll(r.Body)
			if err != nil {
				return // the client is gone
			}
			publish(text)
			w.WriteHeader(http.StatusCreated)
		})
	}
	return http.Serve(listener, mux)
}
