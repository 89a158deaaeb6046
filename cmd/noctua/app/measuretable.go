package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/measuretable"
)

// measureRows are the rows of a table of measures. A file that could not be analysed has one.
func measureRows(outcomes []predicted) []measuretable.Row {
	var rows []measuretable.Row
	for _, o := range outcomes {
		if o.Result == nil {
			rows = append(rows, measuretable.Failed(o.File, o.Status, o.Reason))
			continue
		}
		rows = append(rows, measuretable.Rows(o.File, o.Result)...)
	}
	return rows
}

// writeTable makes a file by write. option is what named it.
func writeTable(option, path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return fault.Wrap(fault.Invalid, option+"-file", err, "the table %s cannot be written: choose another --%s", path, option)
	}
	out := bufio.NewWriter(file)
	err = write(out)
	if err == nil {
		err = out.Flush()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func writeParquet(w io.Writer, rows []measuretable.Row) error {
	table := measuretable.NewParquet(w)
	if err := table.Write(rows); err != nil {
		return err
	}
	return table.Close()
}
