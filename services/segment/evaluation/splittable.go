package evaluation

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// splitFile says which split the pictures of a plain folder belong to, as the training reads it: the columns stem and split.
const splitFile = "split.csv"

// splitsInFile are the splits of a split file. Pictures that training fitted or validated on are training pictures here.
var splitsInFile = map[string]Split{"fit": Train, "validation": Train, "train": Train, "test": Test}

// splitTable reads the split file of a folder; nil where there is none.
func splitTable(dir string) (map[string]Split, error) {
	path := filepath.Join(dir, splitFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "split-file-invalid", err, "%s cannot be read", path)
	}
	defer func() { _ = f.Close() }() // only read
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 || len(rows[0]) != 2 || rows[0][0] != "stem" || rows[0][1] != "split" {
		return nil, fault.New(fault.Invalid, "split-file-invalid", "%s is not a table of the columns stem,split with that line on top.", path)
	}
	table := map[string]Split{}
	for _, row := range rows[1:] {
		split, ok := splitsInFile[row[1]]
		if !ok {
			return nil, fault.New(fault.Invalid, "split-file-invalid", "%s gives %s the split %q: use fit, validation or test.", path, row[0], row[1])
		}
		table[row[0]] = split
	}
	return table, nil
}
