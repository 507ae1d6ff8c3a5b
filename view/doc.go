// Package view shows topics through HTTP: one URL per topic, and the request
// decides the transport (PROTOCOL.md). It holds no state between requests.
//
// negotiate.go decides what a request wants and is pure; each transport is one
// file of a few lines around the same subscription. Publishing, listing and
// the rules for browsers of other origins have a file each.
package view
