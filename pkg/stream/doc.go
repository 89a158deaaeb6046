// Package stream carries Noctua's messages over NATS JetStream. It is the only importer of nats.go.
//
// It holds the topology as data, a publisher that waits until the message is on disk, and the worker runtime, which turns
// what a handler returns into exactly one acknowledgement: handlers never acknowledge.
//
// Guarantees: a message is acknowledged only after its handler has returned nil; a message leaves without being handled
// only as a dead letter that is on disk; an interruption by shutdown is not an attempt. JetStream may still forget (a wiped
// disk, a lost cluster): the buckets are the truth, and reconciliation announces again. Delivery is at least once:
// handlers must be idempotent. It imports pkg/event, pkg/fault, schemas and nats.go.
package stream
