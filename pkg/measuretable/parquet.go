package measuretable

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// rowsPerGroup bounds the memory of a writer: rows are held until a row group is full, about 100 bytes each. Readers want groups of
// 10⁵ rows and more.
const rowsPerGroup = 100_000

// Parquet writes rows to a Parquet file, any number of them in bounded memory. Columns have the names and the order of the CSV; texts are
// UTF-8 strings, numbers are doubles, and all but file and status may be null. Pages are compressed by Zstandard.
type Parquet struct {
	w *parquet.GenericWriter[Row]
}

// NewParquet begins a file. It is complete once Close has returned nil.
func NewParquet(w io.Writer) *Parquet {
	return &Parquet{w: parquet.NewGenericWriter[Row](w, parquet.MaxRowsPerRowGroup(rowsPerGroup), parquet.CreatedBy("Noctua", "", ""))}
}

// Write adds rows.
func (p *Parquet) Write(rows []Row) error {
	if _, err := p.w.Write(rows); err != nil {
		return fmt.Errorf("writing the Parquet table of measures: %w", err)
	}
	return nil
}

// Close ends the file; it does not close what it is written to.
func (p *Parquet) Close() error {
	if err := p.w.Close(); err != nil {
		return fmt.Errorf("writing the Parquet table of measures: %w", err)
	}
	return nil
}
