// Command noctua screens retinal photographs overnight; see README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/noctua-screening/noctua/cmd/noctua/app"
	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
)

func main() {
	isolated.Serve() // does not return in a child that reads DICOM files
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	code := app.Main(ctx, os.Args[1:], app.Streams{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
