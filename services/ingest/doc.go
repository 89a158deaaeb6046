// Package ingest takes what clinics drop into the inbox bucket and brings every object to exactly one outcome: archived
// (image.accepted), in quarantine with a reason (image.rejected), or noted as a duplicate (image.duplicate).
//
// Guarantees: everything durable is written before its event is published, and the inbox object is removed last, so a crash
// at any point is repaired by doing the object again; writes are conditional on keys made of content, so doing it again
// changes nothing; an object is removed only if it still is the one that was read; one object that cannot be handled now
// never holds up the others. Memory and disk are bounded by Config, whatever the objects hold. Logs and events hold no patient
// data, no inbox key and no file name.
//
// Days in quarantine and duplicate keys are those on which the object was dropped (LastModified, UTC), so that a repetition
// after midnight finds its own traces.
//
// Three doors bring files into the inbox: Folder, from plain folders, Receiver, from cameras that send by C-STORE, and Stow, from
// archives and programs that send by STOW-RS. A manifest among the files says which instances a study has; the report service waits
// for them.
//
// A file that a person releases from quarantine takes the same way once more, with its header corrected where that was asked for.
//
// It imports pkg/blob, pkg/dicom, pkg/dimse, pkg/event, pkg/fault, pkg/quarantine, pkg/record, pkg/token and no
// other service.
package ingest
