//go:build linux

package main

import (
	"fmt"
	"os"

	"github.com/duplexhq/duplex/bench/internal/rig"
	"github.com/duplexhq/duplex/internal/load"
)

// debianNchan is where Debian's package has the module.
const debianNchan = "/usr/lib/nginx/modules/ngx_nchan_module.so"

// nchan has locations without history, and others with.
func nchan() *peer {
	return &peer{
		name: nameNchan, dialect: &load.Dialect{Subscribe: nchanSubscribe, Publish: nchanPublish, Validators: true},
		topic: "plain/t", history: "hist/t",
		transports: []variant{{load.SSE, "", true}, {via: load.WebSocket}, {load.LongPoll, "", true}},
		by:         []load.Publishing{load.Posts},
		find: func(p *paths) error {
			if err := lookFor(&p.nginx, "nginx"); err != nil {
				return err
			}
			if _, err := os.Stat(p.nchan); err != nil {
				return fmt.Errorf("%w; Debian has it in libnginx-mod-nchan", err)
			}
			return nil
		},
		version: func(p *paths) []string { return []string{p.nginx, "-v"} },
		launch: func(p *place) (rig.Launch, error) {
			path, err := p.write("nginx.conf", fmt.Sprintf(nchanConfig, p.paths.nchan, p.dir, p.address))
			return rig.Launch{Path: p.paths.nginx, Args: []string{"-p", p.dir, "-c", path, "-e", "stderr"}, Address: p.address, Worker: true}, err
		},
	}
}

const nchanConfig = `load_module %[1]s;
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid %[2]s/nginx.pid;
error_log stderr error;
events {
	worker_connections 19900;
}
http {
	access_log off;
	tcp_nodelay on;
	keepalive_requests 1000000000;
	nchan_max_reserved_memory 1024M;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	server {
		listen %[3]s backlog=4096;
		location ~ ^/pub/plain/(\w+)$ {
			nchan_publisher http;
			nchan_channel_id plain$1;
			nchan_store_messages off;
		}
		location ~ ^/sub/plain/(\w+)$ {
			nchan_subscriber;
			nchan_channel_id plain$1;
			nchan_store_messages off;
			nchan_subscriber_first_message newest;
		}
		location ~ ^/pub/hist/(\w+)$ {
			nchan_publisher http;
			nchan_channel_id hist$1;
			nchan_message_buffer_length 500;
			nchan_message_timeout 600s;
		}
		location ~ ^/sub/hist/(\w+)$ {
			nchan_subscriber;
			nchan_channel_id hist$1;
			nchan_message_buffer_length 500;
			nchan_message_timeout 600s;
			nchan_subscriber_first_message newest;
		}
	}
}
`

func nchanSubscribe(via load.Transport, topics []string, after string) (s load.Subscription, err error) {
	s.Path = "/sub/" + topics[0]
	switch via {
	case load.WebSocket:
	case load.SSE:
		s.Header = "Accept: text/event-stream\r\n"
		if after != "" {
			s.Header += "Last-Event-ID: " + after + "\r\n"
		}
	case load.LongPoll:
		s.Header, s.Held = after, true
	default:
		return s, fmt.Errorf("nchan has no %v", via)
	}
	return s, nil
}

func nchanPublish(_ load.Publishing, topic string) (load.Publication, error) {
	return load.Publication{Path: "/pub/" + topic, Header: "Content-Type: text/plain\r\n"}, nil
}
