// Package e2e holds the tests that watch Duplex from outside: the real program
// on real sockets, read by the clients that people use.
//
//	go test -count=1 -tags e2e ./e2e
//
// With -count=1, because the go command cannot know that the outcome depends on
// the program that the tests build.
//
// The tests are for Linux, stay on the loopback interface and take free ports.
// They need curl, Chromium, Node.js with npm, Python with six packages, nghttp2's
// programs, nginx, Apache, HAProxy and Caddy; a tool that is missing is a failure that names the Debian
// package. npm gets what testdata/node/package-lock.json names from its cache or
// the registry, and the go command gets Pebble, an ACME server, from its module
// cache or proxy. What the tests leave to look at, such as screenshots, goes to
// the directory in E2E_ARTIFACTS, else to the test's artifact directory (go test
// -artifacts).
//
// Beside the program, package websocket itself is watched, as server and client
// of the libraries of others.
package e2e
