// Package record holds the Go types of Noctua's documents (instance, result, report, quarantine, …), generated from
// schemas/, and the codec that checks them. Documents are written strictly (schema-checked) and read tolerantly (unknown
// properties are ignored). It imports only schemas and pkg/fault.
package record
