package main

import (
	"log/slog"
	"time"
)

// The flags of duplex serve, in the groups that its help shows.
type (
	listenFlags struct {
		Listen     []string    `placeholder:"HOST:PORT" help:"Address to listen on (default 127.0.0.1:8080, which only this machine reaches); repeatable. :80 is every address of the machine. Port 0 is a free one. With a certificate it serves TLS, but http://HOST:PORT does not."`
		AllowHost  []string    `placeholder:"HOST" help:"Name under which a server on a loopback address is asked for, by a proxy or by /etc/hosts, besides localhost; repeatable."`
		H2C        bool        `name:"h2c" env:"DUPLEX_H2C" help:"Serve HTTP/2 without TLS, too, to clients that begin with it, such as a proxy. Browsers do not."`
		HTTP3      bool        `name:"http3" env:"DUPLEX_HTTP3" help:"Serve HTTP/3 with WebTransport, too, on the UDP port with the number of the TCP port, and tell browsers of it. Needs TLS. It costs more memory and time than the others."`
		NoHTTP2WS  bool        `name:"no-http2-websocket" env:"DUPLEX_NO_HTTP2_WEBSOCKET" help:"Offer no WebSocket over HTTP/2: browsers then open each on a connection of its own, over HTTP/1.1."`
		TrustProxy []addresses `placeholder:"CIDR" help:"Addresses of proxies that begin each connection with a PROXY protocol header (version 1 or 2), as 10.0.0.0/8 or 10.0.0.1; repeatable."`
	}

	certificateFlags struct {
		TLSCert          string   `name:"tls-cert" placeholder:"FILE" help:"Certificate in PEM, with those between it and its authority. It is read again when it changes."`
		TLSKey           string   `name:"tls-key" placeholder:"FILE" help:"Key of the certificate in PEM."`
		TLSACME          []string `name:"tls-acme" env:"DUPLEX_TLS_ACME" placeholder:"DOMAIN" help:"Get certificates for these domains by ACME, from Let's Encrypt unless told otherwise, and renew them; repeatable. Listens on :443 if there is no --listen. You agree to the terms of the authority."`
		TLSACMEEmail     string   `name:"tls-acme-email" env:"DUPLEX_TLS_ACME_EMAIL" placeholder:"ADDRESS" help:"Whom the authority tells of trouble."`
		TLSACMEDirectory string   `name:"tls-acme-directory" env:"DUPLEX_TLS_ACME_DIRECTORY" placeholder:"URL" help:"Which authority (default ${acme_directory})."`
		TLSACMEDir       string   `name:"tls-acme-dir" env:"DUPLEX_TLS_ACME_DIR" placeholder:"DIR" help:"Where account and certificates are kept (default acme in --data). Servers that share it share the certificates."`
		TLSACMEKeyID     string   `name:"tls-acme-key-id" env:"DUPLEX_TLS_ACME_KEY_ID" placeholder:"ID" help:"An account that the authority knows already (external account binding)."`
		TLSACMEMACKey    string   `name:"tls-acme-mac-key" env:"DUPLEX_TLS_ACME_MAC_KEY" placeholder:"KEY" help:"The key of that account, in base64url. Others may see a command line: better in the environment or a file."`
		TLSDev           bool     `name:"tls-dev" help:"For development: serve TLS with a certificate of an authority that is made here, for this machine only, and tell how to trust it."`
		TLSDevDir        string   `name:"tls-dev-dir" placeholder:"DIR" help:"Where that authority is, or comes to be (default ${tls_dev_dir})."`
	}

	browserFlags struct {
		AllowOrigin []string `placeholder:"ORIGIN" help:"Origin of other pages that may use the topics, as https://example.com; repeatable. * is all, without credentials."`
	}

	logFlags struct {
		Data            string        `default:"duplex-data" placeholder:"DIR" help:"Directory of the log; it is made if missing (default ./duplex-data)."`
		Memory          bool          `help:"Keep the log in memory only: it is gone with the process."`
		Durability      string        `default:"process" enum:"process,fsync" placeholder:"LEVEL" help:"What an acknowledged event outlives: process (also a killed one; synced every second), or fsync (a power loss, too: synced before it is acknowledged). Default process."`
		RetainEvents    int           `default:"100000" placeholder:"N" help:"Events kept of each topic (default 100000; 0 is no limit)."`
		RetainAge       time.Duration `default:"24h" placeholder:"TIME" help:"Age up to which events are kept (default 24h; 0 is no limit)."`
		RetainBytes     size          `default:"1GiB" placeholder:"SIZE" help:"Size of the whole log (default 1GiB; 0 is no limit)."`
		Rule            []rule        `sep:"\n" placeholder:"RULE" help:"What differs for the topics of a pattern, see above; repeatable, the first that matches counts."`
		NATS            string        `name:"nats" env:"DUPLEX_NATS" placeholder:"URL" help:"Keep the log on this NATS server, or on the servers of a cluster, separated by commas, in place of --data. All servers on one NATS are one: whatever is published on one is read on all."`
		NATSCredentials string        `name:"nats-credentials" placeholder:"FILE" help:"Credentials for NATS: a user's JWT and key."`
		NATSCA          string        `name:"nats-ca" env:"DUPLEX_NATS_CA" placeholder:"FILE" help:"Authority of the NATS servers' certificates, in PEM, if the system does not know it. The connection is TLS then, as with a tls:// URL."`
		NATSCert        string        `name:"nats-cert" placeholder:"FILE" help:"Certificate by which NATS knows this server, in PEM. It is read for each connection."`
		NATSKey         string        `name:"nats-key" placeholder:"FILE" help:"Key of that certificate in PEM."`
		NATSStream      string        `name:"nats-stream" default:"duplex" placeholder:"NAME" help:"Stream on NATS; it is made if missing (default duplex)."`
		NATSReplicas    int           `name:"nats-replicas" default:"1" placeholder:"N" help:"Servers that have a copy of a stream that is made: 1, 3 or 5 (default 1)."`
	}

	presenceFlags struct {
		Presence      []string      `sep:"\n" placeholder:"PATTERN" help:"Record who is on the topics of a pattern: /topics/$presence/TOPIC tells; repeatable."`
		PresenceGrace time.Duration `default:"5s" placeholder:"TIME" help:"How long a member with a name stays when it has no connection (default 5s)."`
		MaxMembers    int           `default:"1000000" placeholder:"N" help:"Members of all topics together (default 1000000; 0 is no limit)."`
	}

	timeFlags struct {
		Ping         time.Duration `default:"25s" placeholder:"TIME" help:"Interval of heartbeats: shorter than any proxy on the way waits (default 25s)."`
		MaxWait      time.Duration `default:"55s" placeholder:"TIME" help:"How long a long-poll is held at most (default 55s)."`
		WriteTimeout time.Duration `default:"60s" placeholder:"TIME" help:"How long a client may take nothing of what is sent to it, or send nothing of a body (default 60s)."`
		DrainTimeout time.Duration `default:"10s" placeholder:"TIME" help:"Time to tell everybody when the server stops (default 10s)."`
		MaxLagBytes  size          `default:"0" placeholder:"SIZE" help:"How much data a slow subscriber may be behind before it is closed (default 0: no limit)."`
		MaxLagTime   time.Duration `default:"0" placeholder:"TIME" help:"How long ago the events may be that a slow subscriber has not got, before it is closed (default 0: no limit)."`
		SendBuffer   size          `default:"128KiB" placeholder:"SIZE" help:"What the kernel keeps for a subscriber that is slow to read (default 128KiB)."`
		Compression  bool          `default:"true" negatable:"" help:"Compress messages of WebSocket clients that can (default true)."`
	}

	limitFlags struct {
		MaxEventBytes     size          `default:"1MiB" placeholder:"SIZE" help:"Data of one event (default 1MiB)."`
		MaxBodyBytes      size          `default:"16MiB" placeholder:"SIZE" help:"Body of a batch or of a request to read (default 16MiB)."`
		MaxIncomingBytes  size          `default:"256MiB" placeholder:"SIZE" help:"All bodies together that have begun to come and are not whole yet (default 256MiB)."`
		MaxHeaderBytes    size          `default:"64KiB" placeholder:"SIZE" help:"Header of a request (default 64KiB)."`
		MaxSubscriptions  int           `default:"1000" placeholder:"N" help:"Topics and patterns of one connection or request (default 1000)."`
		MaxConnections    int           `default:"0" placeholder:"N" help:"Connections of the server (default 0: as many as the limit of open files has room for)."`
		MaxStreams        int           `default:"250" placeholder:"N" help:"Requests at once on one connection of HTTP/2 or HTTP/3 (default 250)."`
		MaxGlitches       int           `default:"1000" placeholder:"N" help:"Resets, pings and other frames that bring nothing, of one connection of HTTP/2; a fifth of that is forgiven each second. More for a proxy that has the requests of many clients on one (default 1000)."`
		MaxTopics         int           `default:"1000000" placeholder:"N" help:"Topics (default 1000000; 0 is no limit)."`
		MaxKeys           int           `default:"1000000" placeholder:"N" help:"Idempotency keys remembered (default 1000000; 0 is no limit)."`
		IdempotencyWindow time.Duration `default:"2m" placeholder:"TIME" help:"How long a key is remembered (default 2m)."`
	}

	tellFlags struct {
		LogLevel slog.Level `default:"info" placeholder:"LEVEL" help:"What to tell on standard error: debug (every request), info, warn or error (default info)."`
	}
)

// serveCommand serves topics.
type serveCommand struct {
	listenFlags      `group:"Where it listens, and what it speaks there"`
	certificateFlags `group:"TLS: a certificate of your own, by ACME, or for development"`
	browserFlags     `group:"Pages of other sites"`
	logFlags         `group:"The log: where events are, and for how long"`
	presenceFlags    `group:"Presence: who is on a topic"`
	timeFlags        `group:"Connections"`
	limitFlags       `group:"Limits: beyond them, requests are refused"`
	tellFlags        `group:"What it tells"`
}
