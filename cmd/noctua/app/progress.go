package app

import (
	"fmt"
	"io"

	"github.com/schollz/progressbar/v3"
)

const barWidth = 30 // characters

// pictureBar shows on w how many of total pictures are done, with the rate and the time left.
func pictureBar(w io.Writer, doing string, total int) *progressbar.ProgressBar {
	return progressOf(w, doing, "pictures", total)
}

// progressOf shows on w how many of total things are done, with the rate and the time left. total -1: it is not known yet.
func progressOf(w io.Writer, doing, things string, total int) *progressbar.ProgressBar {
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(doing),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(things),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(barWidth),
		progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(w) }))
}
