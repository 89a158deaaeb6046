// Package app is Noctua's composition root: it turns the command line, the environment and a configuration file into
// dependencies, and dependencies into services. It alone imports the embedded servers and the SQL drivers.
package app
