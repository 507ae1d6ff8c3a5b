//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/duplexhq/duplex/internal/testnet"
)

// natsVariable tells a process of this program that it is a NATS server, and
// which.
const natsVariable = "E2E_NATS_SERVER"

// natsConfig is what a process that is a NATS server needs to know.
type natsConfig struct {
	Name, Dir         string
	Port, ClusterPort int
	Routes            []string // none: it is alone
}

// serveNATS is the process of a NATS server. It returns when the server has
// stopped.
func serveNATS(config string) error {
	var c natsConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	opts := &natsserver.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, NoLog: true,
		JetStream: true, StoreDir: c.Dir, DisableJetStreamBanner: true,
		LameDuckDuration: 2 * time.Second, LameDuckGracePeriod: time.Second,
	}
	if len(c.Routes) > 0 {
		// Servers tell each other, and their clients, of others. What they tell here
		// leads nowhere, or is not told: all ways go through the gates.
		opts.Cluster = natsserver.ClusterOpts{Name: "e2e", Host: "127.0.0.1", Port: c.ClusterPort, Advertise: "127.0.0.1:1", NoAdvertise: true}
	}
	for _, route := range c.Routes {
		u, err := url.Parse("nats://" + route)
		if err != nil {
			return err
		}
		opts.Routes = append(opts.Routes, u)
	}
	s, err := natsserver.NewServer(opts)
	if err != nil {
		return err
	}
	s.Start() // which takes care of signals
	s.WaitForShutdown()
	return nil
}

// A natsCluster is three NATS servers with JetStream, each a process, and the
// gates that their routes go through.
type natsCluster struct {
	configs   []natsConfig
	processes []*process
	gates     map[[2]int]*gate // by who dials and who is dialled
	watcher   jetstream.JetStream
}

func startNATSCluster(t testing.TB) *natsCluster {
	t.Helper()
	const servers = 3
	c := &natsCluster{gates: make(map[[2]int]*gate), processes: make([]*process, servers)}
	ports := testnet.Ports(t, 2*servers)
	for i := range servers {
		config := natsConfig{Name: fmt.Sprint("nats-", i), Dir: t.TempDir(), Port: ports[i], ClusterPort: ports[servers+i]}
		for j := range servers {
			if j != i {
				g := newGate(t, fmt.Sprint("127.0.0.1:", ports[servers+j]))
				c.gates[[2]int{i, j}] = g
				config.Routes = append(config.Routes, g.addr)
			}
		}
		c.configs = append(c.configs, config)
	}
	for i := range servers {
		c.start(t, i)
	}
	c.watcher = connectNATS(t, c.url())
	return c
}

// connectNATS connects to a server that may still be starting.
func connectNATS(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	var nc *nats.Conn
	until(t, "a connection to NATS", func() bool {
		var err error
		nc, err = nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.PingInterval(time.Second))
		return err == nil
	})
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func (c *natsCluster) start(t testing.TB, i int) {
	t.Helper()
	c.processes[i] = startNATS(t, c.configs[i])
}

func startNATS(t testing.TB, c natsConfig) *process {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(self)
	cmd.Env = append(cmd.Env, natsVariable+"="+string(config))
	return start(t, cmd)
}

// kill ends a server without a warning.
func (c *natsCluster) kill(t testing.TB, i int) {
	t.Helper()
	c.processes[i].signal(t, syscall.SIGKILL)
	c.processes[i].exitCode(t)
}

// retire has a server hand over what it leads, say so to its clients, and end.
func (c *natsCluster) retire(t testing.TB, i int) {
	t.Helper()
	c.processes[i].signal(t, syscall.SIGUSR2)
	c.processes[i].exitCode(t)
}

// isolate cuts a server off from the others, but not from its clients, or ends
// that. Nobody is told.
func (c *natsCluster) isolate(i int, cut bool) {
	for pair, g := range c.gates {
		if slices.Contains(pair[:], i) {
			g.shut(cut)
		}
	}
}

// url is the list of all servers.
func (c *natsCluster) url() string {
	var urls []string
	for _, config := range c.configs {
		urls = append(urls, fmt.Sprint("nats://127.0.0.1:", config.Port))
	}
	return strings.Join(urls, ",")
}

// info asks for the stream of the log. It is nil if nobody answers.
func (c *natsCluster) info(t testing.TB) *jetstream.StreamInfo {
	s, err := c.watcher.Stream(t.Context(), "duplex")
	if err != nil {
		return nil
	}
	return s.CachedInfo()
}

// leader waits for the stream's leader.
func (c *natsCluster) leader(t testing.TB) (leader int) {
	t.Helper()
	until(t, "the stream has a leader", func() bool {
		info := c.info(t)
		leader = slices.IndexFunc(c.configs, func(s natsConfig) bool {
			return info != nil && info.Cluster != nil && info.Cluster.Leader == s.Name
		})
		return leader >= 0
	})
	return leader
}

// waitCurrent waits until all servers have all of the stream: only then another
// one may fail.
func (c *natsCluster) waitCurrent(t testing.TB) {
	t.Helper()
	current := func() bool {
		info := c.info(t)
		return info != nil && info.Cluster != nil && info.Cluster.Leader != "" && len(info.Cluster.Replicas) == len(c.configs)-1 &&
			!slices.ContainsFunc(info.Cluster.Replicas, func(r *jetstream.PeerInfo) bool { return !r.Current || r.Offline })
	}
	if !eventually(current) { // one that was isolated has a long way back
		until(t, "all NATS servers have all of the stream", current)
	}
}
