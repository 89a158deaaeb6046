// Package store is the report index: which images, outcomes, quarantined files, duplicates, reports and patients the buckets
// hold, and which reports are due. It is a projection: it can be wiped and is rebuilt from the buckets, whatever the order in
// which the documents come.
//
// It is written in SQL that SQLite and PostgreSQL both understand, over a *sql.DB that the composition root opens; this
// package imports no driver. Package storetest holds the conformance suite that every dialect passes.
//
// It may import pkg/blob (keys), pkg/fhir (statuses), pkg/quarantine, pkg/record, pkg/fault and goose, and knows nothing of queues, buckets or HTTP.
package store
