// Package home is the page that a server shows at "/": what it is, a chat to
// try it, the topics that live on it, and code to copy. It uses only what every
// client may use (PROTOCOL.md), from the browser.
package home

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/duplexhq/duplex/internal/look"
)

//go:embed page
var files embed.FS

var (
	pageHTML = template.Must(template.ParseFS(files, "page/home.html"))
	pageText = texttemplate.Must(texttemplate.ParseFS(files, "page/home.txt"))
	assets   = readAssets()

	// directory is where the assets are: it has another name when a file has
	// changed, so that they may be kept for ever.
	directory = "/assets/" + version
	version   = hash(look.CSS, "page/home.*", "page/assets/*")
)

// policy lets the page load what this server has, and nothing else: what is said
// in the chat stays text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// favicon is what browsers ask for on pages that name no icon: those of JSON, say.
const favicon = "/favicon.ico"

// An asset is a file beside the page.
type asset struct {
	media string
	data  []byte
}

func readAssets() map[string]asset {
	found := map[string]asset{"look.css": {mediaType("look.css"), []byte(look.CSS)}}
	names, err := fs.Glob(files, "page/assets/*")
	if err != nil {
		panic(err) // the pattern is good
	}
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		found[path.Base(name)] = asset{mediaType(name), data}
	}
	return found
}

// mediaType does not ask the machine, which may know others.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	panic("home: what is " + name + "?")
}

// hash is of a text, and of the names and the contents of files.
func hash(text string, patterns ...string) string {
	all := sha256.New()
	all.Write([]byte(text))
	for _, pattern := range patterns {
		names, _ := fs.Glob(files, pattern) // in their order; the pattern is good
		for _, name := range names {
			data, _ := files.ReadFile(name) // it is embedded
			fmt.Fprintf(all, "%s %d\n%s", name, len(data), data)
		}
	}
	return hex.EncodeToString(all.Sum(nil)[:8])
}

// Serves reports whether there is something at the path for ServeHTTP to answer with.
func Serves(urlPath string) bool {
	dir, name := path.Split(urlPath)
	_, known := assets[name]
	return urlPath == "/" || urlPath == favicon || known && dir == directory+"/"
}

// ServeHTTP answers a GET or HEAD of a path that Serves: with the page for a
// person's browser, with plain text for everybody else.
func ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		servePage(w, r)
	case favicon:
		w.Header().Set("Cache-Control", "public, max-age=86400")
		write(w, r, assets["icon.svg"])
	default:
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		write(w, r, assets[path.Base(r.URL.Path)])
	}
}

func servePage(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	data := map[string]string{"Origin": origin(r), "Socket": "ws" + strings.TrimPrefix(origin(r), "http"), "Assets": directory}
	media, form := "text/plain; charset=utf-8", "text"
	var err error
	if wantsHTML(r.Header.Values("Accept")) {
		media, form = "text/html; charset=utf-8", "html"
		sendEarly(w, r)
		w.Header().Set("Content-Security-Policy", policy)
		err = pageHTML.Execute(&body, data)
	} else {
		err = pageText.Execute(&body, data)
	}
	if err != nil {
		panic(err) // the templates take strings only
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Vary", "Accept")
	w.Header().Set("ETag", `"`+version+"-"+form+`"`) // the rest is what the URL says
	write(w, r, asset{media, body.Bytes()})
}

func write(w http.ResponseWriter, r *http.Request, a asset) {
	header := w.Header()
	header.Set("Content-Type", a.media)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.data))
}

// wantsHTML reports whether a browser asks for a page. Wildcards are those of
// programs.
func wantsHTML(accept []string) bool {
	for element := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(element)
		if err == nil && media == "text/html" {
			q, err := strconv.ParseFloat(params["q"], 64)
			return err != nil || q > 0
		}
	}
	return false
}

// origin is where the client sees this server. The page's script puts in what the
// browser knows, for those behind a proxy. A Host that a shell would read as more
// than a name is none of ours.
func origin(r *http.Request) string {
	scheme, host := "http://", r.Host
	if r.TLS != nil {
		scheme = "https://"
	}
	if host == "" || strings.Trim(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]") != "" {
		host = "localhost"
	}
	return scheme + host
}
