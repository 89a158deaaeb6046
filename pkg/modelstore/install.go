package modelstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/unet"
)

// papers are files that go with a model where its folder holds them: what a reader must know, and the licence.
var papers = []string{"README.md", "LICENSE", "NOTICE"}

// maxPaperBytes bounds one of them.
const maxPaperBytes = 1 << 20

// Verify runs a model that lies in a folder and tells whether it computes what it should; see segment.OpenEngine.
type Verify func(ctx context.Context, dir string) error

// Install copies the model in source into the store. The copy is checked: manifest, SHA-256 and classes here, the rest by verify. Only the
// files that the manifest names are taken, and papers; none may be a link. A model that is there already, byte for byte, is
// left as it is, and new is false.
//
// Faults: those of unet.LoadModel and verify; Invalid "model-manifest" where a name or version cannot be a folder or a file is
// no plain file; Conflict "model-exists" where another model has the name and the version.
func (s Store) Install(ctx context.Context, source string, verify Verify) (entry Entry, added bool, err error) {
	none := func(err error) (Entry, bool, error) { return Entry{}, false, err }
	root, err := os.OpenRoot(source)
	if err != nil {
		return none(fault.Wrap(fault.NotFound, "model-missing", err, "%s is not a folder that can be read: give the folder of a model, with %s in it", source, unet.ManifestFile))
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	// Before anything is copied, so that a wrong folder is told at once.
	model, err := unet.LoadModelFS(root.FS(), source)
	if err != nil {
		return none(err)
	}
	manifest := model.Manifest
	if manifest.Name == Shipped || !namePattern.MatchString(manifest.Name) || !versionPattern.MatchString(manifest.Version) {
		return none(fault.New(fault.Invalid, CodeManifest, "the model in %s is called %q, version %q: a name other than %q and a version of letters, digits, dots, plus, minus and underscores are needed",
			source, manifest.Name, manifest.Version, Shipped))
	}
	unlock, err := s.lock()
	if err != nil {
		return none(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := s.sweep(); err != nil {
		return none(err)
	}
	part, err := os.MkdirTemp(s.Dir, partialPrefix)
	if err != nil {
		return none(fmt.Errorf("installing %s: %w", manifest.Name, err))
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()
	files := []string{unet.ManifestFile, manifest.File, manifest.Golden.Input, manifest.Golden.Output}
	if err := copyModel(ctx, root, source, part, files); err != nil {
		return none(err)
	}
	if _, err := unet.LoadModel(part); err != nil {
		return none(err)
	}
	entry = Entry{Name: manifest.Name, Version: manifest.Version, Dir: filepath.Join(s.Dir, manifest.Name, manifest.Version)}
	if _, err := os.Lstat(entry.Dir); err == nil {
		same, err := sameFiles(part, entry.Dir, files)
		if err != nil {
			return none(err)
		}
		if !same {
			return none(fault.New(fault.Conflict, CodeExists, "another model is installed as %s in %s: give the new one another version, or remove the old one first with noctua model remove %s", entry, s.Dir, entry))
		}
		return entry, false, verify(ctx, entry.Dir)
	}
	if err := verify(ctx, part); err != nil {
		return none(err)
	}
	if err := os.MkdirAll(filepath.Dir(entry.Dir), 0o700); err != nil {
		return none(fmt.Errorf("installing %s: %w", entry, err))
	}
	if err := os.Rename(part, entry.Dir); err != nil {
		return none(fmt.Errorf("installing %s: %w", entry, err))
	}
	return entry, true, errors.Join(syncDir(filepath.Dir(entry.Dir)), syncDir(s.Dir))
}

// sweep removes what interrupted installations have left. The lock is held, so nobody is at work on it.
func (s Store) sweep() error {
	left, err := filepath.Glob(filepath.Join(escaped(s.Dir), partialPrefix+"*"))
	if err != nil {
		return fmt.Errorf("looking for interrupted installations: %w", err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing an interrupted installation: %w", err)
		}
	}
	return nil
}

// copyModel copies files, and the papers that are there, and has them on disk when it returns.
func copyModel(ctx context.Context, root *os.Root, source, to string, files []string) error {
	for _, name := range files {
		if err := copyFile(ctx, root, name, to, 0); err != nil {
			return fmt.Errorf("copying %s: %w", filepath.Join(source, name), err)
		}
	}
	for _, name := range papers {
		if err := copyFile(ctx, root, name, to, maxPaperBytes); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copying %s: %w", filepath.Join(source, name), err)
		}
	}
	return syncDir(to)
}

// copyFile copies one plain file; limit 0 is none.
func copyFile(ctx context.Context, root *os.Root, name, to string, limit int64) (err error) {
	info, err := root.Lstat(name)
	if err != nil {
		return fault.Wrap(fault.Invalid, "model-missing", err, "the model folder is not whole")
	}
	if !info.Mode().IsRegular() {
		return fault.New(fault.Invalid, CodeManifest, "%s is a link or a folder, not a plain file: put the file itself there", name)
	}
	if limit > 0 && info.Size() > limit {
		return fault.New(fault.Invalid, CodeManifest, "%s is larger than %d bytes", name, limit)
	}
	in, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.OpenFile(filepath.Join(to, filepath.Base(name)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, reader{ctx, in})
	return errors.Join(err, out.Sync(), out.Close())
}

// reader ends when its context does.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// sameFiles compares two model folders byte by byte.
func sameFiles(a, b string, files []string) (bool, error) {
	for _, name := range files {
		x, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			return false, fmt.Errorf("comparing with the installed model: %w", err)
		}
		y, err := os.ReadFile(filepath.Join(b, name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("comparing with the installed model: %w", err)
		}
		if !bytes.Equal(x, y) {
			return false, nil
		}
	}
	return true, nil
}
