package http3

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A name with two addresses, at the first of which nobody answers.
func TestSilentAddress(t *testing.T) {
	address, transport := serve(t)
	deaf, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	transport.lookup = func(_ context.Context, asked string) ([]netip.AddrPort, error) {
		if asked != "localhost:443" {
			t.Errorf("looked up %q", asked)
		}
		return []netip.AddrPort{netip.MustParseAddrPort(deaf.LocalAddr().String()), netip.MustParseAddrPort(address)}, nil
	}
	response, err := (&http.Client{Transport: transport}).Get("https://localhost/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close(); response.StatusCode != http.StatusOK {
		t.Error(response.Status)
	}
}

func TestLookup(t *testing.T) {
	for address, want := range map[string]string{"127.0.0.1:443": "127.0.0.1:443", "[::1]:8443": "[::1]:8443"} {
		if ways, err := lookup(t.Context(), address); err != nil || len(ways) != 1 || ways[0].String() != want {
			t.Errorf("%s: %v, %v", address, ways, err)
		}
	}
	for _, address := range []string{"localhost", "localhost:port"} {
		if ways, err := lookup(t.Context(), address); err == nil {
			t.Errorf("%s: %v", address, ways)
		}
	}
}

// RFC 8305 §5: the next attempt begins after a while, or when one has failed.
func TestRace(t *testing.T) {
	refused := errors.New("refused")
	type way struct {
		takes time.Duration
		err   error
	}
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		ways    []way
		want    int // the way that is taken; -1 for none
		after   time.Duration
		dropped int
	}{
		"at once":                  {[]way{{20 * ms, nil}, {0, nil}}, 0, 20 * ms, 0},
		"only one":                 {[]way{{500 * ms, nil}}, 0, 500 * ms, 0},
		"silent":                   {[]way{{time.Hour, nil}, {20 * ms, nil}}, 1, fallback + 20*ms, 0},
		"slow, and the other, too": {[]way{{350 * ms, nil}, {100 * ms, nil}}, 0, 350 * ms, 0},
		"refused":                  {[]way{{10 * ms, refused}, {20 * ms, nil}}, 1, 30 * ms, 0},
		"all refused":              {[]way{{400 * ms, refused}, {10 * ms, errors.New("another")}}, -1, 400 * ms, 0},
		"late":                     {[]way{{-350 * ms, nil}, {20 * ms, nil}}, 1, fallback + 20*ms, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dropped := 0
				began := time.Now()
				got, err := race(t.Context(), test.ways, func(ctx context.Context, w way) (time.Duration, error) {
					if w.takes < 0 { // whatever becomes of ctx
						time.Sleep(-w.takes)
						return w.takes, nil
					}
					select {
					case <-time.After(w.takes):
						return w.takes, w.err
					case <-ctx.Done():
						return 0, ctx.Err()
					}
				}, func(time.Duration) { dropped++ })
				took := time.Since(began)
				switch {
				case test.want < 0 && err != refused, test.want >= 0 && (err != nil || got != test.ways[test.want].takes):
					t.Errorf("got %v, %v", got, err)
				case took != test.after:
					t.Errorf("took %v, want %v", took, test.after)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if dropped != test.dropped {
					t.Errorf("%d dropped, want %d", dropped, test.dropped)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := race(ctx, []int{1, 2}, func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}, func(int) {})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
