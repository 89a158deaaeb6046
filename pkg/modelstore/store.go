package modelstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/unet"
)

// Stable codes of faults.
const (
	CodeExists    = "model-exists"    // another model has the name and the version
	CodeUnknown   = "model-unknown"   // no such model is installed
	CodeAmbiguous = "model-ambiguous" // several versions are installed
	CodeInUse     = "model-in-use"    // it is the default
	CodeManifest  = "model-manifest"
)

// Shipped is the name of the model inside the program. No installed model may be called so.
const Shipped = "shipped"

// Names inside the folder.
const (
	defaultFile   = "default"
	lockFile      = ".lock"
	partialPrefix = ".install-"
)

// Store is a folder of models. It need not exist before the first installation.
type Store struct{ Dir string }

// Entry is an installed model. Only its manifest was read.
type Entry struct {
	Name, Version string
	Dir           string
	Default       bool
}

// String is how the model is asked for where several versions of it are installed.
func (e Entry) String() string { return e.Name + "@" + e.Version }

// A version becomes a folder, a name does too (its pattern is in the schema).
var (
	versionPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,31}$`)
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
)

// List returns the installed models by name and version. Folders that hold no manifest are left out: they are not ours.
func (s Store) List() ([]Entry, error) {
	chosen, err := s.readDefault()
	if err != nil {
		return nil, err
	}
	manifests, err := filepath.Glob(filepath.Join(escaped(s.Dir), "*", "*", unet.ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("listing the models in %s: %w", s.Dir, err)
	}
	entries := []Entry{}
	for _, m := range manifests {
		dir := filepath.Dir(m)
		e := Entry{Name: filepath.Base(filepath.Dir(dir)), Version: filepath.Base(dir), Dir: dir}
		if !namePattern.MatchString(e.Name) || !versionPattern.MatchString(e.Version) {
			continue // not ours
		}
		e.Default = e.String() == chosen
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.String(), b.String()) })
	return entries, nil
}

// escaped makes a path that a pattern matches literally.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Find returns the model NAME or NAME@VERSION. Faults: NotFound "model-unknown", Invalid "model-ambiguous".
func (s Store) Find(reference string) (Entry, error) {
	entries, err := s.List()
	if err != nil {
		return Entry{}, err
	}
	var found, all []string
	var match Entry
	for _, e := range entries {
		all = append(all, e.String())
		if e.String() == reference || e.Name == reference {
			found, match = append(found, e.String()), e
		}
	}
	switch {
	case len(found) == 1:
		return match, nil
	case len(found) > 1:
		return Entry{}, fault.New(fault.Invalid, CodeAmbiguous, "several versions of %s are installed in %s: give one of %s", reference, s.Dir, strings.Join(found, ", "))
	case len(all) == 0:
		return Entry{}, fault.New(fault.NotFound, CodeUnknown, "no model %s is installed: %s holds none", reference, s.Dir)
	}
	return Entry{}, fault.New(fault.NotFound, CodeUnknown, "no model %s is installed in %s, which holds %s", reference, s.Dir, strings.Join(all, ", "))
}

// Default returns the model that was chosen by Use; false where none was, so that the shipped one is used. A chosen model that is no
// longer there is a fault: nobody should get the figures of another model unasked.
func (s Store) Default() (Entry, bool, error) {
	chosen, err := s.readDefault()
	if err != nil || chosen == "" {
		return Entry{}, false, err
	}
	e, err := s.Find(chosen)
	if err != nil {
		return Entry{}, false, fmt.Errorf("finding the default model that %s names; choose another one with noctua model use: %w", filepath.Join(s.Dir, defaultFile), err)
	}
	return e, true, nil
}

func (s Store) readDefault() (string, error) {
	raw, err := os.ReadFile(filepath.Join(s.Dir, defaultFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading which model is the default: %w", err)
	}
	chosen := strings.TrimSpace(string(raw))
	if name, version, ok := strings.Cut(chosen, "@"); !ok || !namePattern.MatchString(name) || !versionPattern.MatchString(version) {
		return "", fault.New(fault.Invalid, CodeUnknown, "%s does not hold NAME@VERSION: choose a model with noctua model use", filepath.Join(s.Dir, defaultFile))
	}
	return chosen, nil
}

// Use makes the model NAME or NAME@VERSION the default; Shipped makes the one inside the program it again.
func (s Store) Use(reference string) (err error) {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	path := filepath.Join(s.Dir, defaultFile)
	if reference == Shipped {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("making the shipped model the default: %w", err)
		}
		return syncDir(s.Dir)
	}
	e, err := s.find(reference)
	if err != nil {
		return err
	}
	return writeFile(path, []byte(e.String()+"\n"))
}

// find is Find for those who mend what default holds.
func (s Store) find(reference string) (Entry, error) {
	e, err := s.Find(reference)
	if _, broken := s.readDefault(); err != nil && broken != nil {
		if err := os.Remove(filepath.Join(s.Dir, defaultFile)); err != nil {
			return Entry{}, fmt.Errorf("removing the damaged choice of the default model: %w", err)
		}
		return s.Find(reference)
	}
	return e, err
}

// Remove deletes the model NAME or NAME@VERSION. Fault: Conflict "model-in-use" where it is the default.
func (s Store) Remove(reference string) (err error) {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	e, err := s.Find(reference)
	if err != nil {
		return err
	}
	if e.Default {
		return fault.New(fault.Conflict, CodeInUse, "%s is the default model of %s: choose another one first, e.g. with noctua model use %s", e, s.Dir, Shipped)
	}
	// Out of the way first: what a broken-off deletion leaves is no model.
	gone, err := os.MkdirTemp(s.Dir, partialPrefix)
	if err != nil {
		return fmt.Errorf("removing %s: %w", e, err)
	}
	if err := os.Rename(e.Dir, filepath.Join(gone, "removed")); err != nil {
		return fmt.Errorf("removing %s: %w", e, err)
	}
	_ = os.Remove(filepath.Dir(e.Dir)) // stays while it holds other versions
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing %s: %w", e, err)
	}
	return syncDir(s.Dir)
}

// lock makes the folder and waits for its turn. The kernel gives the lock back when the process ends, however it ends.
func (s Store) lock() (unlock func() error, err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the models: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the models: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the models: %w", err), f.Close())
	}
	return f.Close, nil
}

// writeFile writes a file whole or not at all, and on disk when it returns.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after the rename
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing the folder %s: %w", dir, err)
	}
	return errors.Join(f.Sync(), f.Close())
}
