package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	// manifestFile is the name by which the intake knows a manifest.
	manifestFile = "manifest.json"
	// maxAnnounced is how many instances a manifest may have, by its schema.
	maxAnnounced = 2000
)

// announcements are manifests of the studies among files.
type announcements struct {
	manifests []upload
	instances int
	left      int // files that are not announced: ZIPs, what is no DICOM, and a second file of a SOP instance
}

// announce writes a manifest into dir for each study among the files. Files are read, with bounds, but not judged.
func announce(ctx context.Context, dir string, files []upload) (announcements, error) {
	var a announcements
	studies := map[string]*record.Manifest{}
	seen := map[string]bool{}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return a, err
		}
		study, instance, err := instanceOf(f)
		switch {
		case err != nil:
			return a, err
		case study == "" || seen[instance.SOPUID]:
			a.left++
			continue
		}
		seen[instance.SOPUID] = true
		m := studies[study]
		if m == nil {
			m = &record.Manifest{Schema: record.ManifestSchema, StudyUID: study}
			studies[study] = m
		}
		if len(m.Instances) == maxAnnounced {
			return a, fault.New(fault.Unsupported, "manifest-too-large", "a study has more than %d files, which is more than a manifest can announce; submit it without --manifest", maxAnnounced)
		}
		m.Instances = append(m.Instances, instance)
		a.instances++
	}
	// In an order of their own, so that the same files make the same manifests, which then are duplicates.
	for _, m := range studies {
		slices.SortFunc(m.Instances, func(x, y record.ExpectedInstance) int { return strings.Compare(x.SOPUID, y.SOPUID) })
		raw, err := record.Encode(record.ManifestSchema, m)
		if err != nil {
			return a, err
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.json", len(a.manifests)))
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			return a, fmt.Errorf("writing a manifest: %w", err)
		}
		a.manifests = append(a.manifests, upload{path: file, name: path.Join("manifests", m.StudyUID, manifestFile), size: int64(len(raw))})
	}
	return a, nil
}

// instanceOf reads which SOP instance a file is; study is "" if it is none that can be announced.
func instanceOf(f upload) (study string, instance record.ExpectedInstance, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return "", instance, fault.Wrap(fault.NotFound, "file-missing", err, "%s cannot be read", f.path)
	}
	defer func() { _ = file.Close() }() // only read from
	content, err := dicom.Open(file, f.size, dicom.Limits{})
	if fault.Is(err, fault.Transient) {
		return "", instance, fault.Wrap(fault.NotFound, "file-missing", err, "%s cannot be read", f.path)
	}
	if err != nil {
		return "", instance, nil //nolint:nilerr // no DICOM, or damaged: the intake says so
	}
	described, err := content.Describe()
	if fault.CodeOf(err) == dicom.CodeUnreadable {
		return "", instance, fault.Wrap(fault.NotFound, "file-missing", err, "%s cannot be read", f.path)
	}
	if described.StudyUID == "" || described.SOPUID == "" {
		return "", instance, nil
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.NewSectionReader(file, 0, f.size))
	if err != nil || n != f.size {
		return "", instance, fault.Wrap(fault.NotFound, "file-missing", errors.Join(err, io.ErrUnexpectedEOF), "%s changes while it is read", f.path)
	}
	return described.StudyUID, record.ExpectedInstance{SOPUID: described.SOPUID, Sha256: hex.EncodeToString(hash.Sum(nil)), SizeBytes: int(f.size)}, nil
}
