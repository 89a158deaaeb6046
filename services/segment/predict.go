package segment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Prediction is the outcome of one file.
type Prediction struct {
	Path   string         // as given
	Dir    string         // folder with result.json and the files that it names; "" when Err is set
	Result *record.Result // nil when Err is set
	Err    error          // why the file could not be analysed
}

// maxFileBytes bounds what is read of one file.
const maxFileBytes = 512 << 20

// pictureExtensions are what PictureFiles takes from folders.
var pictureExtensions = append(slices.Clone(pixel.PictureExtensions), ".dcm", ".dicom")

// PictureFiles expands folders among paths to the pictures in and below them, by their extension or, without one, by the
// DICOM header, in name order. Files are taken as they are. A path that is not there, or a folder without pictures, is an
// error.
func PictureFiles(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fault.Wrap(fault.NotFound, "picture-missing", err, "%s cannot be found: check the path", path)
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		before := len(files)
		err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.Type().IsRegular() && looksLikePicture(file) {
				files = append(files, file)
			}
			return nil
		})
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "folder-unreadable", err, "the folder %s cannot be listed", path)
		}
		if len(files) == before {
			return nil, fault.New(fault.NotFound, "picture-missing", "the folder %s holds no pictures (%s) and no DICOM files", path, strings.Join(pictureExtensions, ", "))
		}
	}
	return files, nil
}

func looksLikePicture(path string) bool {
	if strings.HasPrefix(filepath.Base(path), ".") {
		return false
	}
	extension := strings.ToLower(filepath.Ext(path))
	if slices.Contains(pictureExtensions, extension) {
		return true
	}
	// DICOM files often have no extension, or the last part of a UID, which looks like one.
	if _, err := strconv.Atoi(strings.TrimPrefix(extension, ".")); extension != "" && err != nil {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	head := make([]byte, 132)
	n, _ := io.ReadFull(f, head) // a short file is no DICOM file
	return dicom.IsPart10(head[:n])
}

// PredictOptions say what Predict writes.
type PredictOptions struct {
	Out     string // folder
	Explain bool   // also OUT/<name>/measures: a picture a measure and region
}

// measuresDir is the folder of the pictures that explain measures.
const measuresDir = "measures"

// Predict analyses files and writes for each, several at a time, into OUT/<name> what Render makes and, last, result.json.
// <name> is the file's name without extension; a second one of the same name gets -2, and so on. A bad file is reported and
// the others go on. report is called for every file, in the order of files, never concurrently. The error is about the
// output folder or an interruption; failed files are in the reports alone.
func (a *Analyser) Predict(ctx context.Context, files []string, options PredictOptions, report func(Prediction)) error {
	out := options.Out
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fault.Wrap(fault.Invalid, "output-folder", err, "the folder %s cannot be made: choose another --out", out)
	}
	names := outputNames(files)
	outcomes := make([]chan Prediction, len(files))
	for i := range outcomes {
		outcomes[i] = make(chan Prediction, 1)
	}
	var group errgroup.Group
	// One more than the network can take, so that the next picture is decoded while the others are in the network.
	group.SetLimit(picturesAtOnce(a.network) + 1) // and the one that reports
	group.Go(func() error {
		for _, outcome := range outcomes {
			report(<-outcome)
		}
		return nil
	})
	for i, file := range files {
		group.Go(func() error {
			p := Prediction{Path: file, Dir: filepath.Join(out, names[i])}
			if p.Err = ctx.Err(); p.Err == nil {
				p.Result, p.Err = a.predictFile(ctx, file, p.Dir, options.Explain)
			}
			if p.Err != nil {
				p.Dir, p.Result = "", nil
			}
			outcomes[i] <- p
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// picturesAtOnce bounds the pictures that are decoded at the same time, and so the memory.
func picturesAtOnce(n network) int {
	info := n.Info()
	return info.ConcurrentRuns*info.Batch + 1
}

// outputNames gives each file a name of its own.
func outputNames(files []string) []string {
	used := map[string]bool{}
	names := make([]string, len(files))
	for i, file := range files {
		base := filepath.Base(file)
		stem := strings.TrimSuffix(base, filepath.Ext(base))
		if stem == "" {
			stem = "picture"
		}
		name := stem
		for n := 2; used[name]; n++ {
			name = fmt.Sprintf("%s-%d", stem, n)
		}
		used[name] = true
		names[i] = name
	}
	return names
}

func (a *Analyser) predictFile(ctx context.Context, file, dir string, explain bool) (*record.Result, error) {
	picture, subject, err := ReadFile(file)
	if err != nil {
		return nil, err
	}
	analysis, err := a.Analyse(ctx, picture, subject)
	if err != nil {
		return nil, err
	}
	document, err := record.Encode(record.ResultSchema, analysis.Result)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.Wrap(fault.Invalid, "output-folder", err, "the folder %s cannot be made", dir)
	}
	// An old result must not stand beside new pictures, nor old pictures beside an ungradable result.
	old, err := filepath.Glob(filepath.Join(dir, classMaskPattern))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "output-folder", err, "the folder %s cannot be listed", dir)
	}
	for _, name := range []string{ResultFile, MaskFile, OverlayFile, VesselMapFile, SegmentsFile, SEGFile, SRFile} {
		old = append(old, filepath.Join(dir, name))
	}
	drawn, err := filepath.Glob(filepath.Join(dir, measuresDir, "*.png"))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "output-folder", err, "the folder %s cannot be listed", dir)
	}
	for _, path := range append(old, drawn...) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Wrap(fault.Invalid, "output-folder", err, "the old %s cannot be replaced", path)
		}
	}
	rendered, err := analysis.Render(picture, subject.BurnedIn)
	if err != nil {
		return nil, err
	}
	for _, f := range rendered {
		if err := writeFile(filepath.Join(dir, f.Name), f.Data); err != nil {
			return nil, err
		}
	}
	if explain && analysis.Findings != nil {
		if err := writeExplained(analysis, filepath.Join(dir, measuresDir)); err != nil {
			return nil, err
		}
	}
	if err := writeFile(filepath.Join(dir, ResultFile), document); err != nil {
		return nil, err
	}
	return &analysis.Result, nil
}

func writeExplained(analysis *Analysis, dir string) error {
	files, err := analysis.Explain()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Wrap(fault.Invalid, "output-folder", err, "the folder %s cannot be made", dir)
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.Name), f.Data); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, data []byte) error {
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return fault.Wrap(fault.Invalid, "output-folder", err, "%s cannot be written", path)
	}
	return nil
}

// ReadFile decodes a picture or DICOM file and says what is known about it. A file without UIDs gets ones that are made of
// its SHA-256, so that the same file has the same ones.
func ReadFile(path string) (*raster.RGB, Subject, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, Subject{}, err
	}
	sum := sha256.Sum256(data)
	subject := Subject{SHA256: hex.EncodeToString(sum[:]), StudyUID: derivedUID(sum[:16]), SOPUID: derivedUID(sum[16:])}
	if dicom.IsPart10(data[:min(len(data), 132)]) {
		picture, err := decodeDICOM(data, &subject)
		return picture, subject, err
	}
	subject.Decoder = pictureDecoder(data)
	picture, err := pixel.DecodePicture(data, pixel.Limits{})
	return picture, subject, err
}

// decodeDICOM decodes the first frame and fills in what the file says. An instance that a clinic could not send (no
// laterality, no patient) can still be looked at by hand, so that what is missing stays empty here.
func decodeDICOM(data []byte, subject *Subject) (*raster.RGB, error) {
	file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		return nil, err
	}
	instance, err := file.Describe()
	if err != nil {
		subject.Notes = append(subject.Notes, record.Note{Code: codeOf(err), Text: sentence(err)})
	}
	if instance.StudyUID != "" && instance.SOPUID != "" {
		subject.StudyUID, subject.SOPUID = instance.StudyUID, instance.SOPUID
	}
	subject.describe(&instance)
	subject.Decoder = dicomDecoder(file.TransferSyntax)
	source, err := file.Source(&instance)
	if err != nil {
		return nil, err
	}
	subject.Source = &source
	picture, notes, err := file.Decode()
	subject.Notes = append(subject.Notes, notes...)
	return picture, err
}

// derivedUID makes a UID of 16 bytes, as DICOM PS3.5 B.2 does of a UUID.
func derivedUID(b []byte) string { return "2.25." + new(big.Int).SetBytes(b).String() }

func dicomDecoder(syntax string) string { return "noctua dicom, transfer syntax " + syntax }

func pictureDecoder(data []byte) string {
	switch {
	case len(data) > 2 && data[0] == 0xFF && data[1] == 0xD8:
		return "libjpeg-turbo"
	default:
		return "Go image"
	}
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Wrap(fault.NotFound, "picture-missing", err, "%s cannot be found: check the path", path)
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, "picture-unreadable", err, "%s cannot be opened", path)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "picture-unreadable", err, "%s cannot be read", path)
	}
	if len(data) > maxFileBytes {
		return nil, fault.New(fault.Invalid, "file-too-large", "%s is larger than %d MB, more than any photograph", path, maxFileBytes>>20)
	}
	return data, nil
}
