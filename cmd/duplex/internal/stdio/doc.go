// Package stdio is what the commands do with standard input and output, whoever
// is at the other end of them.
package stdio
