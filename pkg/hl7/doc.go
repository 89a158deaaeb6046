// Package hl7 writes reports as HL7 v2.5.1 messages (ORU^R01^ORU_R01, one a version of a report), reads acknowledgements, and frames both as
// MLLP does.
//
// Write guarantees: the same report gives the same bytes; whatever texts it holds, only the message's own structure has delimiters, and no
// control character but the carriage return behind each segment gets into it, so that a frame is never cut. Values have the digits that
// FHIR shows. What the message holds of a report, and what not, stands in docs/hl7.md.
//
// ParseAck and ReadFrame read bytes from outside in bounded memory. No text of a receiver's becomes part of an error, since it may quote a patient.
//
// Pure: it imports record and fhir (for the rounding and the issuers) alone.
//
// Source: HL7 Messaging Standard Version 2.5.1 (2007), chapters 2 (control, escapes), 3 (PID), 4 (ORC, OBR) and 7 (OBX, ORU); MLLP Release 1.
package hl7
