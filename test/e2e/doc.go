// Package e2e runs the built program as its users do: processes, files, HTTP, on real inputs. It has tests alone.
package e2e
