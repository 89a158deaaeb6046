// Command outcomes reads every file of folders as intake does, each in a child process of its own under its limits, and prints what
// became of them as Markdown: how many files have which outcome and code, and what the worst of them cost. Nothing is kept, so that
// what intake knows from other files (duplicates, identity conflicts) does not show.
//
//	go run ./test/outcomes FOLDER…
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom/isolated"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func main() {
	isolated.Serve()
	if len(os.Args) < 2 {
		log.Fatal("which folders? go run ./test/outcomes FOLDER…")
	}
	for _, folder := range os.Args[1:] {
		files, err := judge(context.Background(), folder)
		if err != nil {
			log.Fatal(err)
		}
		if err := write(os.Stdout, folder, files); err != nil {
			log.Fatal(err)
		}
	}
}

// judged is what became of a file.
type judged struct {
	path          string
	outcome, code string
	cost          isolated.Cost
}

// Outcomes of a file, in the order in which they are printed.
const (
	analysed    = "analysed"
	archived    = "archived only"
	quarantined = "quarantine"
)

// judge reads every file below folder.
func judge(ctx context.Context, folder string) (files []judged, err error) {
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := judgeFile(ctx, path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		files = append(files, file)
		return nil
	})
	return files, err
}

// judgeFile reads a file with a child of its own, so that what it costs is told apart.
func judgeFile(ctx context.Context, path string) (judged, error) {
	file, err := os.Open(path)
	if err != nil {
		return judged{}, err
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return judged{}, err
	}
	out := judged{path: path}
	reader := isolated.New(isolated.Config{Children: 1, Observe: func(c isolated.Cost) {
		out.cost.Duration = max(out.cost.Duration, c.Duration)
		out.cost.PeakBytes = max(out.cost.PeakBytes, c.PeakBytes)
	}}, slog.New(slog.DiscardHandler))
	defer reader.Close()
	read, err := reader.Read(ctx, file, info.Size(), isolated.Judgement)
	if err == nil {
		err = read.Judgement()
	}
	switch {
	case err == nil && read.Instance.Analyse:
		out.outcome = analysed
	case err == nil:
		out.outcome, out.code = archived, read.Instance.NotAnalysed.Code
	case fault.Is(err, fault.Invalid) || fault.Is(err, fault.Unsupported):
		out.outcome, out.code = quarantined, fault.CodeOf(err)
	default:
		return judged{}, errors.Join(errors.New("the file was not judged"), err)
	}
	return out, nil
}

// write prints the table of a folder's files.
func write(w io.Writer, folder string, files []judged) error {
	var text strings.Builder
	fmt.Fprintf(&text, "\n%s: %d files\n\n| outcome | code | files | most memory | longest |\n|---|---|---|---|---|\n", filepath.Base(folder), len(files))
	slices.SortStableFunc(files, func(a, b judged) int {
		return cmp.Or(cmp.Compare(a.outcome, b.outcome), cmp.Compare(a.code, b.code))
	})
	for from := 0; from < len(files); {
		to := from
		large, slow := files[from], files[from]
		for ; to < len(files) && files[to].outcome == files[from].outcome && files[to].code == files[from].code; to++ {
			if files[to].cost.PeakBytes > large.cost.PeakBytes {
				large = files[to]
			}
			if files[to].cost.Duration > slow.cost.Duration {
				slow = files[to]
			}
		}
		code := ""
		if large.code != "" {
			code = "`" + large.code + "`"
		}
		fmt.Fprintf(&text, "| %s | %s | %d | %d MB, %s | %d ms, %s |\n", large.outcome, code, to-from,
			large.cost.PeakBytes>>20, filepath.Base(large.path), slow.cost.Duration.Round(time.Millisecond)/time.Millisecond, filepath.Base(slow.path))
		from = to
	}
	_, err := io.WriteString(w, text.String())
	return err
}
