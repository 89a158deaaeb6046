// Package lifecycle runs the parts of a process together: the first that ends stops all, stopping has two phases and a limit, and
// readiness is asked of each part. It imports nothing of Noctua but pkg/fault.
package lifecycle
