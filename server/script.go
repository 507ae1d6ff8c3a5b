package server

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/duplexhq/duplex/ts"
)

// A script is a file of the TypeScript client, as it is served.
type script struct {
	media        string
	etag         string
	plain, small []byte // small is compressed
}

// scripts are those of package ts, by their path: /client.js.
var scripts = sync.OnceValue(func() map[string]script {
	all := make(map[string]script)
	names, err := fs.Glob(ts.Files, "dist/*")
	for _, name := range names {
		var plain []byte
		if plain, err = ts.Files.ReadFile(name); err != nil {
			break
		}
		sum := sha256.Sum256(plain)
		s := script{media: "text/javascript; charset=utf-8", etag: base64.RawURLEncoding.EncodeToString(sum[:9]), plain: plain}
		if strings.HasSuffix(name, ".d.ts") {
			s.media = "text/plain; charset=utf-8" // what "typescript" would be, is a video for many
		}
		var small bytes.Buffer
		w, _ := gzip.NewWriterLevel(&small, gzip.BestCompression) // the level is right
		_, _ = w.Write(plain)                                     // as is all that goes to memory
		_ = w.Close()
		s.small = small.Bytes()
		all["/"+path.Base(name)] = s
	}
	if err != nil {
		panic(err) // the files are part of the program
	}
	return all
})

// serve answers any page: a module is code that is public, and says nothing
// of who asks.
func (s script) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	if !isReading(w, r) {
		return
	}
	header.Set("Content-Type", s.media)
	header.Set("Cache-Control", "public, no-cache") // asked for again, but seldom sent: another server may be newer
	header.Set("Vary", "Accept-Encoding")
	content, etag := s.plain, s.etag
	if acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		content, etag = s.small, etag+"-gzip"
	}
	header.Set("ETag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// acceptsGzip is as exact as has to be for browsers and package tools.
func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return !strings.HasPrefix(strings.ReplaceAll(quality, " ", ""), "q=0")
		}
	}
	return false
}
