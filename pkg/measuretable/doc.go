// Package measuretable writes measures as tables for analysts: CSV and Apache Parquet with the same columns, one row a measure of a
// picture, so that each value stands beside its unit, its error and, where there is none, the reason.
//
// Same rows, same bytes. Pure: it imports record only, and the Parquet library.
package measuretable
