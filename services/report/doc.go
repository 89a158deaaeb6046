// Package report turns what ingest and segment left in the buckets into one report a study, and lets people and programs read
// them: FHIR R4, a simple JSON interface, and the web page.
//
// It guarantees: every archived image gets into a report, also those that are not analysed or failed; a version of a report is
// in the reports bucket before it is announced, and announced before it is indexed; equal content makes no new version; the
// order, repetition or loss of events changes nothing in the end, since what is due is derived from the index and the index
// from the buckets; two processes never write the same version twice.
//
// It imports no other service. The index is in package store, the page's templates in package web.
package report
