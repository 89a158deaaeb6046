// Package segment turns photographs into vessel masks and measures.
//
// Its core is the Analyser: picture → field of view → canonical canvas → network → mask on the photograph's own grid,
// overlay, measures and the result document with full provenance. It knows no servers. Two things use it: the Service,
// which consumes image.accepted and writes to the results bucket, and Predict, which reads and writes files.
//
// What the service guarantees: outputs lie in the results bucket, result.json last and conditionally, before
// image.segmented is published, and that before the message is acknowledged. A picture that was analysed by this model
// before is announced again without work. A picture in which nothing can be measured is ungradable, which is a result; one
// that cannot be read leaves failure.json and image.failed. Memory is bounded by the number of pictures under way.
//
// It imports packages below pkg only, never another service.
package segment
