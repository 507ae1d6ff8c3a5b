package main

import (
	"fmt"
	"net/http"
	"strings"
)

// parseHeader reads fields as they are given on the command line.
func parseHeader(fields []string) (http.Header, error) {
	header := make(http.Header)
	for _, field := range fields {
		name, value, ok := strings.Cut(field, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, usageError(fmt.Sprintf("--header: want 'NAME: VALUE', not %q", field))
		}
		header.Add(name, strings.TrimSpace(value))
	}
	return header, nil
}
