// Package keep has what all logs need to keep entries by the rules: the order of
// a log across its topics, what each rule keeps and for how long, the idempotency
// keys, and the names of the topics. It does no I/O and has no clock. Nothing in
// it locks: who has it guards it.
package keep
