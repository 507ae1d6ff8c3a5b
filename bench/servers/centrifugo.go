//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
)

// centrifugo has a channel without history, and one with.
func centrifugo() *peer {
	return &peer{
		name: nameCentrifugo, dialect: &load.Dialect{Subscribe: centrifugoSubscribe, Publish: centrifugoPublish, Cursor: centrifugoCursor, History: true},
		topic: "t", history: "hist:t",
		transports: []variant{{load.SSE, "", true}, {load.WebSocket, "", true}},
		by:         []load.Publishing{load.Posts},
		find:       func(p *paths) error { return lookFor(&p.centrifugo, "centrifugo") },
		version:    func(p *paths) []string { return []string{p.centrifugo, "version"} },
		launch: func(p *place) (rig.Launch, error) {
			_, port, err := net.SplitHostPort(p.address)
			if err != nil {
				return rig.Launch{}, err
			}
			path, err := p.write("centrifugo.json", fmt.Sprintf(centrifugoConfig, port))
			return rig.Launch{Path: p.paths.centrifugo, Args: []string{"--config", path}, Address: p.address}, err
		},
	}
}

const centrifugoConfig = `{
	"http_server": {"address": "127.0.0.1", "port": "%s"},
	"log": {"level": "error"},
	"usage_stats": {"disabled": true},
	"client": {"insecure": true},
	"http_api": {"insecure": true},
	"uni_sse": {"enabled": true},
	"websocket": {"write_timeout": "1s"},
	"channel": {"namespaces": [
		{"name": "hist", "history_size": 500, "history_ttl": "600s", "force_recovery": true, "force_positioning": true}
	]}
}`

// A cursor is the offset, and the epoch after a space.
func centrifugoSubscribe(via load.Transport, topics []string, after string) (s load.Subscription, err error) {
	recovery := ""
	if offset, epoch, ok := strings.Cut(after, " "); ok {
		recovery = fmt.Sprintf(`"recover":true,"offset":%s,"epoch":%q`, offset, epoch)
	}
	switch via {
	case load.WebSocket:
		member := ""
		if recovery != "" {
			member = "," + recovery
		}
		return load.Subscription{
			Path:      "/connection/websocket",
			Greet:     []string{`{"id":1,"connect":{}}`, fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q%s}}`, topics[0], member)},
			Ready:     `"id":2`,
			JSON:      true,
			Heartbeat: "{}",
		}, nil
	case load.SSE:
		connect := fmt.Sprintf(`{"subs":{%q:{%s}}}`, topics[0], recovery)
		return load.Subscription{
			Path:   "/connection/uni_sse?cf_connect=" + url.QueryEscape(connect),
			Header: "Accept: text/event-stream\r\n",
			Ready:  `"connect"`,
			JSON:   true,
		}, nil
	}
	return s, fmt.Errorf("centrifugo is not read as %v here", via)
}

func centrifugoPublish(_ load.Publishing, topic string) (load.Publication, error) {
	channel, err := json.Marshal(topic)
	return load.Publication{
		Path:   "/api/publish",
		Header: "Content-Type: application/json\r\n",
		Before: fmt.Sprintf(`{"channel":%s,"data":"`, channel),
		After:  `"}`,
	}, err
}

// centrifugoCursor finds the last offset; the epoch is said only at the start.
func centrifugoCursor(dst, text []byte) []byte {
	const offset, epoch = `"offset":`, `"epoch":"`
	i := bytes.LastIndex(text, []byte(offset))
	if i < 0 {
		return dst
	}
	digits := text[i+len(offset):]
	digits = digits[:len(digits)-len(bytes.TrimLeft(digits, "0123456789"))]
	_, known, _ := bytes.Cut(dst, []byte(" "))
	if _, after, ok := bytes.Cut(text, []byte(epoch)); ok {
		known, _, _ = bytes.Cut(after, []byte(`"`))
	}
	return append(append(append([]byte(nil), digits...), ' '), known...)
}
