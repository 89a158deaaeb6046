// Package export sends the DICOM files of results (SEG, SR) to archives, by C-STORE or STOW-RS.
//
// Each archive has a durable consumer and a worker of its own, so that one that is slow or away holds up neither screening nor another
// archive. It guarantees: what became of a result at an archive is a document in the results bucket, written before the message is
// acknowledged; a result without one is found again by reconciliation, also when the stream was wiped. An archive that is away costs no
// attempts: nothing is fetched for it until it is worth trying. What an archive refuses for good, or after some attempts, is noted as failed,
// becomes a dead letter, and is sent again when a person asks for it (Request).
//
// A process that dies between the archive's answer and the note sends a result twice. That is harmless: the instances have the same UIDs and the
// same bytes.
//
// It holds one result at a time for each archive in memory. No patient's data is logged or part of an error. It imports no other service.
package export
