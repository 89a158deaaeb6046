// Package dimse is both sides of a DICOM association over TCP (PS3.7 and PS3.8), for Verification and Storage:
// A-ASSOCIATE, P-DATA-TF, A-RELEASE and A-ABORT below, C-ECHO and C-STORE above. Association accepts, Client asks.
//
// The accepting side decides nothing about titles, SOP classes and objects: a Handler does. Data sets are handed on as they arrive and never
// looked into, so that memory is bounded whatever a sender does: a PDU has at most MaxPDUBytes, a command set at most
// maxCommandBytes, and of a data set one buffer is held. Every wait for the network has an end: Config.ARTIM before the
// association, Config.IdleTimeout in it. A sender that breaks the protocol gets A-ABORT with the reason that the standard names.
//
// Not negotiated, and so as the standard's defaults have it: asynchronous operations (one at a time), roles (the sender is the
// SCU), user identity, extended negotiation.
//
// A Client sends data sets from memory, in PDUs that the other side takes, and hands every status to its caller: it decides nothing, either.
//
// It imports pkg/fault alone.
package dimse
