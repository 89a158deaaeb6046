package unet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/schemas"
)

// BackgroundClass is the name of the class that is nothing else.
const BackgroundClass = "background"

// VesselClass is the name of the class of vessels of either kind.
const VesselClass = "vessel"

// vesselClasses are the classes whose pixels are vessel: a model may tell arteries from veins.
var vesselClasses = []string{VesselClass, "artery", "vein"}

// ManifestFile is the manifest's name in a model's folder.
const ManifestFile = "manifest.json"

// CardFile describes a model to people.
const CardFile = "README.md"

// Bounds of what is read into memory.
const (
	maxManifestBytes = 1 << 20
	maxCardBytes     = 256 << 10
	maxModelBytes    = 2 << 30 // the limit of ONNX's own format (protobuf)
)

// Model is a model folder that was read and checked. It is immutable.
type Model struct {
	Origin   string // where it came from, for messages
	Manifest record.ModelManifest
	files    fs.FS // the folder, for the golden tensors
	onnx     []byte
}

// LoadModel reads a model from a folder; see LoadModelFS.
func LoadModel(dir string) (*Model, error) { return LoadModelFS(os.DirFS(dir), dir) }

// LoadModelFS reads a model from a file system, e.g. one that is embedded in the program. It checks the manifest against its
// schema, reads the ONNX file and checks that it is the one that the manifest describes. origin names the folder in messages.
// Faults: NotFound "model-missing", Invalid "model-manifest" or "model-altered".
func LoadModelFS(files fs.FS, origin string) (*Model, error) {
	raw, err := readBounded(files, origin, ManifestFile, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	manifest, err := record.Decode[record.ModelManifest](record.ModelSchema, raw)
	if err == nil {
		err = validateManifest(raw)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "model-manifest", err, "%s is not a model manifest that this version can use; get the model folder again or choose another one", filepath.Join(origin, ManifestFile))
	}
	if !slices.ContainsFunc(manifest.Output.Classes, func(c string) bool { return slices.Contains(vesselClasses, c) }) {
		return nil, fault.New(fault.Invalid, "model-manifest", "the model %s has the classes %s, but none of them is one of %s: use a vessel model", manifest.Name, strings.Join(manifest.Output.Classes, ", "), strings.Join(vesselClasses, ", "))
	}
	onnx, err := readBounded(files, origin, manifest.File, maxModelBytes)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(onnx); hex.EncodeToString(sum[:]) != manifest.Sha256 {
		return nil, fault.New(fault.Invalid, "model-altered", "%s has the SHA-256 %x, but its manifest says %s: the file was changed or cut off, get the model folder again", filepath.Join(origin, manifest.File), sum, manifest.Sha256)
	}
	return &Model{Origin: origin, Manifest: *manifest, files: files, onnx: onnx}, nil
}

// Card is the model card (README.md) for people; "" where the folder has none. Fault: Invalid model-altered where it is no text of at most 256 KiB.
func (m *Model) Card() (string, error) {
	if _, err := fs.Stat(m.files, CardFile); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	raw, err := readBounded(m.files, m.Origin, CardFile, maxCardBytes)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(raw) {
		return "", fault.New(fault.Invalid, "model-altered", "%s is not text", filepath.Join(m.Origin, CardFile))
	}
	return string(raw), nil
}

// Bytes is the size of the ONNX file.
func (m *Model) Bytes() int64 { return int64(len(m.onnx)) }

func validateManifest(raw []byte) error {
	v, err := schemas.Default()
	if err != nil {
		return fmt.Errorf("compiling the schemas: %w", err)
	}
	return v.Validate(strings.TrimPrefix(record.ModelSchema, "noctua."), raw)
}

// Reference names the model in documents.
func (m *Model) Reference() record.ModelReference {
	return record.ModelReference{Name: m.Manifest.Name, Version: m.Manifest.Version, Sha256: m.Manifest.Sha256}
}

func readBounded(files fs.FS, origin, name string, limit int64) ([]byte, error) {
	path := filepath.Join(origin, name)
	f, err := files.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Wrap(fault.NotFound, "model-missing", err, "there is no %s: give the folder of a model, with %s in it", path, ManifestFile)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, "model-missing", err, "%s cannot be opened", path)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "model-missing", err, "%s cannot be read", path)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Invalid, "model-manifest", "%s is larger than %d bytes: this is no model file", path, limit)
	}
	return data, nil
}
