// Package deliver sends each version of a report to receivers, as it is issued: as HL7 v2 over MLLP, or as a signed webhook.
//
// Each receiver has a durable consumer and a worker of its own, so that one that is slow or away holds up neither screening nor another
// receiver. It guarantees: what became of a version at a receiver is a document in the reports bucket, written before the message is
// acknowledged; a version without one is found again by reconciliation, also when the stream was wiped. The versions that concern a
// patient are sent in the order in which they were issued: the stream hands out one message at a time, and before a version is sent, those
// before it that have no document are. A version that was given up never follows a later one of its report. A receiver that is away
// costs no attempts; what it rejects, or cannot process after some attempts, is noted as failed, becomes a dead letter, and is sent again when
// a person asks for it (Request).
//
// A process that dies between the receiver's answer and the note sends a version twice, under the same message id and with the same bytes.
//
// It holds one report at a time for each receiver in memory. No patient's data is logged or part of an error, and none is in a webhook. It
// imports no other service.
package deliver
