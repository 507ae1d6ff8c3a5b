package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/duplexhq/duplex/client/conformance/hostile"
	"github.com/duplexhq/duplex/view"
	"github.com/duplexhq/duplex/view/webtransport"
)

// An identity is how the servers of this process show themselves.
type identity struct {
	server    *tls.Config
	authority string // PEM
	keyHash   string
}

// KeyHash is the SHA-256 of the public key of the servers with UDP, in base64, for
// browsers that are told of keys.
func KeyHash() string { return secure().keyHash }

// secure makes the identity, which is valid also at the time of bubbles.
var secure = sync.OnceValue(func() *identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // never for this curve
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), airServer.IP},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err) // the template is good
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err) // it was made above
	}
	hash := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return &identity{
		server:    &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		authority: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		keyHash:   base64.StdEncoding.EncodeToString(hash[:]),
	}
})

// An http3Server is the part of a server that speaks HTTP/3.
type http3Server struct {
	packets   net.PacketConn
	transport *quic.Transport
	server    *webtransport.Server
	serving   sync.WaitGroup

	mu    sync.Mutex
	conns map[*quic.Conn]struct{} // guarded by mu
}

func newHTTP3Server(packets net.PacketConn) *http3Server {
	return &http3Server{packets: packets, transport: &quic.Transport{Conn: packets}, conns: make(map[*quic.Conn]struct{})}
}

// serve serves until close.
func (h *http3Server) serve(handler http.Handler) error {
	config := new(quic.Config)
	webtransport.Configure(config)
	listener, err := h.transport.Listen(http3.ConfigureTLSConfig(secure().server), config)
	if err != nil {
		return err
	}
	h.server = webtransport.NewServer(&http3.Server{Handler: handler, Logger: slog.New(slog.DiscardHandler)})
	// Ends with the listener, which the transport ends. Joined by close.
	h.serving.Go(func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			h.mu.Lock()
			h.conns[conn] = struct{}{}
			h.mu.Unlock()
			// Ends with the connection. Joined by close.
			h.serving.Go(func() {
				_ = h.server.Serve(conn) // how it has ended is the client's business
				h.mu.Lock()
				defer h.mu.Unlock()
				delete(h.conns, conn)
			})
		}
	})
	return nil
}

// accept is view.Options.WebTransport.
func (h *http3Server) accept(w http.ResponseWriter, r *http.Request) (view.WebTransport, error) {
	return h.server.Accept(w, r)
}

// cut has nothing more be sent or received, and nobody is told.
func (h *http3Server) cut() {
	if h != nil {
		h.packets.Close()
	}
}

// close ends the connections that there are.
func (h *http3Server) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	for conn := range h.conns {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") // it may have ended
	}
	h.mu.Unlock()
	h.transport.Close()
	h.packets.Close()
	h.serving.Wait()
}

// The air carries datagrams in a bubble, and is a NAT before its clients.
type air struct {
	network func() *hostile.Network

	mu      sync.Mutex // guards what follows
	nodes   map[string]simnet.PacketReceiver
	clients int
	port    int // added to those of clients
}

var airServer = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(bubbleAddr))

func newAir(network func() *hostile.Network) *air {
	return &air{network: network, nodes: make(map[string]simnet.PacketReceiver)}
}

// serve is the server's socket.
func (a *air) serve() net.PacketConn { return simnet.NewBlockingSimConn(airServer, a) }

// open is a socket of a client, with an address of its own.
func (a *air) open(context.Context, netip.AddrPort) (net.PacketConn, error) {
	a.mu.Lock()
	a.clients++
	number := a.clients
	a.mu.Unlock()
	return simnet.NewBlockingSimConn(&net.UDPAddr{IP: net.IPv4(198, 51, byte(100+number>>8), byte(number)).To4(), Port: 1}, a), nil
}

// rebind has the packets of all clients come from other ports.
func (a *air) rebind() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.port++
}

// AddNode is that of simnet.Router.
func (a *air) AddNode(address net.Addr, receiver simnet.PacketReceiver) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[address.(*net.UDPAddr).IP.String()] = receiver
}

// SendPacket is that of simnet.Router. A client is told apart by its address: the
// port changes, and what comes to an old one is lost.
func (a *air) SendPacket(p simnet.Packet) error {
	a.mu.Lock()
	to, from := *p.To.(*net.UDPAddr), *p.From.(*net.UDPAddr)
	receiver := a.nodes[to.IP.String()]
	if to.Port == airServer.Port {
		from.Port += a.port
		p.From = &from
	} else if to.Port != 1+a.port {
		receiver = nil
	}
	a.mu.Unlock()
	delay, through := a.network().Datagram(len(p.Data))
	if receiver == nil || !through {
		return nil
	}
	if delay == 0 {
		receiver.RecvPacket(p)
		return nil
	}
	time.AfterFunc(delay, func() { receiver.RecvPacket(p) })
	return nil
}
