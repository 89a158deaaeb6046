// Package web holds what people see: the templates of the pages, their style and their script, all embedded and served by
// Noctua itself. It knows no HTTP, no index and no access rules; package report fills its views. All values are escaped by
// html/template; pages work under a policy that allows neither inline script nor inline style.
package web
