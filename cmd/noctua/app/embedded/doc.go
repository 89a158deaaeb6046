// Package embedded runs the servers that `noctua run` brings along: a NATS server with JetStream and an S3 server, both
// within the process and with their state in one folder. Services meet them through pkg/stream and pkg/blob alone, as they meet
// external ones.
//
// What it adds to the servers: an object is on disk (file, extended attributes and folders synced) before its put is
// answered; every message is synced before it is acknowledged; a put into the inbox bucket wakes ingest through JetStream;
// a conditional removal cannot remove an object that is being overwritten.
//
// What to know: the S3 server works with paths relative to its folder, so Start changes the working directory of the
// process until Close: make other paths absolute before. One instance a process. Files copied straight into the
// folder of a bucket are not a door into Noctua: they have no ETag, may be read half-written, and wake nobody. A folder cannot be an object
// too: beside "a", the key "a/b" is refused with a clean error, and the other way round.
package embedded
