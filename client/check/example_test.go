package check_test

import (
	"context"
	"fmt"
	"log"

	"github.com/duplexhq/duplex/client/check"
	"github.com/duplexhq/duplex/server"
)

func ExampleRun() {
	ctx := context.Background()
	s, err := server.New(context.Background(), &server.Config{Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(ctx)
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	report, err := check.Run(ctx, "http://"+s.Addrs()[0].String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Best, report.Advice)
	// Output: websocket Clients will use WebSockets.
}
