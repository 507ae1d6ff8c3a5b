// Package server is a Duplex server: a log, the topics on it, and the
// listeners through which the world reaches them (PROTOCOL.md).
//
//	s, err := server.New(ctx, &server.Config{Listen: []string{"127.0.0.1:8080"}})
//	...
//	err = s.Run(ctx) // until ctx is done, and everybody was told
package server
