//go:build linux

package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
)

// mercureKey signs the tokens of publishers.
const mercureKey = "a key of which the server asks only that it is long enough"

// mercure keeps no history, or for works that need it all in a file.
func mercure() *peer {
	return &peer{
		name: nameMercure, dialect: &load.Dialect{Subscribe: mercureSubscribe, Publish: mercurePublish},
		topic:      "t",
		transports: []variant{{load.SSE, "", true}},
		by:         []load.Publishing{load.Posts},
		find:       func(p *paths) error { return lookFor(&p.mercure, "mercure") },
		version:    func(p *paths) []string { return []string{p.mercure, "version"} },
		launch: func(p *place) (rig.Launch, error) {
			transport := "local"
			if p.work.history {
				transport = fmt.Sprintf("bolt {\n\t\t\tpath %s\n\t\t\tsize 0\n\t\t\tcleanup_frequency 0.3\n\t\t}", filepath.Join(p.dir, "bolt.db"))
			}
			path, err := p.write("Caddyfile", fmt.Sprintf(mercureConfig, p.address, mercureKey, transport))
			return rig.Launch{Path: p.paths.mercure, Args: []string{"run", "--config", path, "--adapter", "caddyfile"}, Address: p.address}, err
		},
	}
}

const mercureConfig = `{
	admin off
	auto_https off
	persist_config off
	log {
		level ERROR
	}
}
http://%s {
	mercure {
		publisher_jwt "%s" HS256
		anonymous
		heartbeat 40s
		write_timeout 600s
		subscriber_list_cache_size 100000
		transport %s
	}
}
`

const mercurePath = "/.well-known/mercure"

func mercureSubscribe(via load.Transport, topics []string, after string) (s load.Subscription, err error) {
	if via != load.SSE {
		return s, fmt.Errorf("mercure has no %v", via)
	}
	s = load.Subscription{Path: mercurePath + "?topic=" + url.QueryEscape(topics[0]), Header: "Accept: text/event-stream\r\n"}
	if after != "" {
		s.Header += "Last-Event-ID: " + after + "\r\n"
	}
	return s, nil
}

func mercurePublish(_ load.Publishing, topic string) (load.Publication, error) {
	return load.Publication{
		Path:   mercurePath,
		Header: "Content-Type: application/x-www-form-urlencoded\r\nAuthorization: Bearer " + mercureToken() + "\r\n",
		Before: "topic=" + url.QueryEscape(topic) + "&data=",
	}, nil
}

// mercureToken may publish everything (RFC 7519).
func mercureToken() string {
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"mercure":{"publish":["*"]}}`))
	mac := hmac.New(sha256.New, []byte(mercureKey))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
