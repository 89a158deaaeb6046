package app

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/modelstore"
)

// modelsFolder holds the installed models in the data folder.
const modelsFolder = "models"

// chosenModel is the model that a command runs.
type chosenModel struct {
	dir       string // "" is the one inside the program
	byDefault bool   // chosen by noctua model use, not by a flag
}

// why says who chose the model, for the log.
func (m chosenModel) why() string {
	if m.byDefault {
		return ", the default of the data folder"
	}
	return ""
}

func storeOf(data string) modelstore.Store {
	return modelstore.Store{Dir: filepath.Join(data, modelsFolder)}
}

// chooseModel finds the model that --model names: "" is the default of the data folder, where there is one, else the shipped one;
// shipped is that; what has a path separator, or is . or .., is a folder; anything else is an installed model, or, where none is
// called so, a folder.
func chooseModel(data, reference string) (chosenModel, error) {
	store := storeOf(data)
	switch {
	case reference == "":
		e, ok, err := store.Default()
		if err != nil || !ok {
			return chosenModel{}, err
		}
		return absolute(e.Dir, true)
	case reference == modelstore.Shipped:
		return chosenModel{}, nil
	case strings.ContainsRune(reference, filepath.Separator) || reference == "." || reference == "..":
		return absolute(reference, false)
	}
	e, err := store.Find(reference)
	if err == nil {
		return absolute(e.Dir, false)
	}
	if fault.CodeOf(err) == modelstore.CodeUnknown && isDir(reference) {
		return absolute(reference, false)
	}
	return chosenModel{}, err
}

// chooseModels is chooseModel for several; none is the default.
func chooseModels(data string, references []string) ([]chosenModel, error) {
	if len(references) == 0 {
		references = []string{""}
	}
	out := make([]chosenModel, len(references))
	var errs []error
	for i, r := range references {
		m, err := chooseModel(data, r)
		out[i], errs = m, append(errs, err)
	}
	return out, errors.Join(errs...)
}

// absolute makes the folder independent of the working directory, which the S3 server changes.
func absolute(dir string, byDefault bool) (chosenModel, error) {
	dir, err := filepath.Abs(dir)
	return chosenModel{dir: dir, byDefault: byDefault}, err
}
