package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fhir"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// The NDJSON sets of a night lie in the reports bucket, a set a clinic and version:
//
//	nights/<yyyy-mm-dd>/fhir/<clinic>/v<N>/<Type>-<nnnn>.ndjson
//	nights/<yyyy-mm-dd>/fhir/<clinic>/v<N>/manifest.json
//
// The manifest is written last: a set without one is not there. A night bears the date on which it began, and has the reports that
// were first issued in it. A set is written when the night is over and none of its reports is preliminary, and again, beside, when one of them has
// a new version. Which nights there is something to do for comes from the index; what was done from the bucket, so that neither a restart nor
// the loss of the index loses a set or doubles it.
const (
	manifestName = "manifest.json"
	// bulkBatch versions of reports are looked at in a query.
	bulkBatch = 500
	// bulkEvery is the pause between looks at what there is to publish.
	bulkEvery = time.Minute
	// bulkPatience is how long after a night its preliminary reports are waited for; then the set has them as they are, and once they are
	// final there will be another.
	bulkPatience = 6 * time.Hour
	// bulkPart reports are made into files at a time: some 30 MB of observations.
	bulkPart = 200
	// bulkLimit bounds a file that is read back to be compared.
	bulkLimit = 1 << 30
)

// bulkSet is the files of a night at a clinic.
type bulkSet struct {
	night  time.Time // when it began
	clinic string
}

func (b bulkSet) name() string { return b.night.Format(time.DateOnly) }

func (b bulkSet) prefix() string { return nightsPrefix + b.name() + "/fhir/" + b.clinic + "/" }

// publishLoop publishes nights that are over, until ctx ends.
func (s *Service) publishLoop(ctx context.Context) error {
	for {
		err := s.Publish(ctx)
		if fault.Interrupted(err) || ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.deps.Logger.Warn("a night could not be published and will be tried again", slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
		}
		if err := pause(ctx, bulkEvery); err != nil {
			return err
		}
	}
}

// Publish writes the sets of all nights that are over and that the bucket lacks as they are now.
func (s *Service) Publish(ctx context.Context) error {
	complete, err := s.deps.Store.Complete(ctx)
	if err != nil || !complete {
		return err // an index that is being made does not know the nights yet
	}
	done, err := s.published(ctx)
	if err != nil {
		return err
	}
	// Everything is published up to last, but for what has to wait.
	last, waiting := done, time.Time{}
	finished := map[bulkSet]bool{}
	for {
		issues, err := s.deps.Store.IssuesAfter(ctx, last, bulkBatch)
		if err != nil {
			return err
		}
		for _, i := range issues {
			set := bulkSet{night: nightOf(i.FirstIssuedAt, s.cfg.Location), clinic: i.Clinic}
			over, known := finished[set]
			if !known {
				if over, err = s.publishSet(ctx, set); err != nil {
					return fmt.Errorf("publishing the night of %s: %w", set.name(), err)
				}
				finished[set] = over
			}
			if !over && waiting.IsZero() {
				waiting = last // what was before this one
			}
			last = i.UpdatedAt
		}
		if len(issues) < bulkBatch {
			break
		}
	}
	if !waiting.IsZero() {
		last = waiting
	}
	if last.Equal(done) {
		return nil
	}
	return s.deps.Store.SetNote(ctx, store.NotePublished, strconv.FormatInt(last.UnixMilli(), 10))
}

// published is the moment of update up to which everything is published; zero if that is not known.
func (s *Service) published(ctx context.Context) (time.Time, error) {
	text, err := s.deps.Store.Note(ctx, store.NotePublished)
	if err != nil || text == "" {
		return time.Time{}, err
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // a note that cannot be read is as good as none: what is published is found in the bucket
	}
	return timeOfMs(ms), nil
}

// publishSet writes the set of a night at a clinic, unless the bucket has it as it is. false: the night is not over, or not settled.
func (s *Service) publishSet(ctx context.Context, set bulkSet) (bool, error) {
	end := set.night.AddDate(0, 0, 1)
	at := s.deps.Clock()
	if at.Before(end) {
		return false, nil
	}
	var reports []versionRef
	after := ""
	for {
		found, err := s.deps.Store.FirstIssued(ctx, set.clinic, store.Span{From: set.night, To: end}, after, bulkBatch)
		if err != nil {
			return false, err
		}
		for _, v := range found {
			if v.Status == record.Preliminary && at.Before(end.Add(bulkPatience)) {
				return false, nil
			}
			raw, err := s.rawDocument(ctx, v)
			if err != nil {
				return false, err
			}
			reports = append(reports, versionRef{v.ReportID, v.Version, hashHex(raw), v.IssuedAt})
			after = v.ReportID
		}
		if len(found) < bulkBatch {
			break
		}
	}
	if len(reports) == 0 {
		return true, nil
	}
	return true, s.writeSet(ctx, set, reports)
}

// versionRef is a version of a report that belongs to a set.
type versionRef struct {
	id       string
	version  int
	sha256   string // of report.json
	issuedAt time.Time
}

// digestOf is the hash of which reports in which versions are in a set.
func digestOf(reports []versionRef) string {
	var text strings.Builder
	for _, r := range reports {
		fmt.Fprintf(&text, "%s %d %s\n", r.id, r.version, r.sha256)
	}
	return hashHex([]byte(text.String()))
}

func hashHex(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// writeSet writes a set beside the earlier ones, unless the newest one is of the same reports in the same versions.
func (s *Service) writeSet(ctx context.Context, set bulkSet, reports []versionRef) error {
	newest, highest, err := s.setVersions(ctx, set)
	if err != nil {
		return err
	}
	if newest > 0 {
		manifest, err := s.readManifest(ctx, set, newest)
		if err != nil {
			return err
		}
		if manifest.Extension != nil && manifest.Extension.Reports == digestOf(reports) {
			return nil
		}
	}
	// A version that was begun and not finished is finished if it is the same; otherwise it stays as it is, and nobody sees it.
	for version := max(newest+1, highest); ; version++ {
		written, err := s.writeSetVersion(ctx, set, version, reports)
		if err != nil || written {
			return err
		}
	}
}

// writeSetVersion writes a version of a set. false: another one is there in its place.
func (s *Service) writeSetVersion(ctx context.Context, set bulkSet, version int, reports []versionRef) (bool, error) {
	manifest := fhir.Manifest{Request: "$bulk-publish?night=" + set.name(), RequiresAccessToken: true, Output: []fhir.ManifestFile{}, Error: []fhir.ManifestFile{},
		Extension: &fhir.ManifestDetails{Night: set.name(), Clinic: set.clinic, Version: version, Reports: digestOf(reports)}}
	last := time.Time{}
	prefix := set.prefix() + "v" + strconv.Itoa(version) + "/"
	put := func(part int, files []fhir.BulkFile) (bool, error) {
		for _, f := range files {
			name := fmt.Sprintf("%s-%04d.ndjson", f.Type, part)
			manifest.Output = append(manifest.Output, fhir.ManifestFile{Type: f.Type, URL: name, Count: len(f.Lines)})
			if same, err := s.putSame(ctx, prefix+name, f.Bytes(), ndjsonMedia); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	}
	var publisher fhir.Publisher
	part := 0
	for chunk := range slices.Chunk(reports, bulkPart) {
		part++
		documents := make([]fhir.BulkReport, 0, len(chunk))
		for _, r := range chunk {
			found, err := s.deps.Store.Version(ctx, r.id, r.version)
			if err != nil {
				return false, err
			}
			doc, err := s.documentOf(ctx, found)
			if err != nil {
				return false, err
			}
			documents = append(documents, fhir.BulkReport{Doc: doc, SHA256: r.sha256})
			if r.issuedAt.After(last) {
				last = r.issuedAt
			}
		}
		files, err := publisher.Add(documents)
		if err != nil {
			return false, err
		}
		if same, err := put(part, files); err != nil || !same {
			return false, err
		}
	}
	files, err := publisher.Finish()
	if err != nil {
		return false, err
	}
	if same, err := put(1, files); err != nil || !same {
		return false, err
	}
	manifest.TransactionTime = fhir.Instant(last)
	raw, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return false, fmt.Errorf("encoding the manifest of a night: %w", err)
	}
	same, err := s.putSame(ctx, prefix+manifestName, append(raw, '\n'), "application/json")
	if err == nil && same {
		s.deps.Logger.Info("a night was published", slog.String("night", set.name()), slog.String("clinic", set.clinic), slog.Int("version", version), slog.Int("reports", len(reports)))
	}
	return same, err
}

// putSame writes an object, and tells whether it lies there as it should: written now, or before and the same.
func (s *Service) putSame(ctx context.Context, key string, raw []byte, media string) (bool, error) {
	bucket := s.deps.Blob.Buckets().Reports
	err := s.deps.Blob.PutBytes(ctx, bucket, key, raw, blob.PutOptions{ContentType: media, IfNoneMatch: true})
	if !fault.Is(err, fault.Conflict) {
		if err != nil {
			return false, fmt.Errorf("writing %s: %w", key, err)
		}
		return true, nil
	}
	there, err := s.deps.Blob.GetBytes(ctx, bucket, key, bulkLimit)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", key, err)
	}
	return bytes.Equal(there, raw), nil
}

// setVersions are the number of the newest version of a set (0: none) and the highest of which anything is there.
func (s *Service) setVersions(ctx context.Context, set bulkSet) (newest, highest int, err error) {
	for info, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Reports, set.prefix()) {
		if err != nil {
			return 0, 0, fmt.Errorf("listing the sets of a night: %w", err)
		}
		of, version, file, ok := parseBulkKey(info.Key)
		if !ok || of != set.name()+"/"+set.clinic {
			continue
		}
		highest = max(highest, version)
		if file == manifestName {
			newest = max(newest, version)
		}
	}
	return newest, highest, nil
}

// parseBulkKey takes the key of a file of a set apart: night/clinic, version and name.
func parseBulkKey(key string) (of string, version int, file string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, nightsPrefix), "/")
	if !strings.HasPrefix(key, nightsPrefix) || len(parts) != 5 || parts[1] != "fhir" {
		return "", 0, "", false
	}
	version, ok = parseSetVersion(parts[3])
	return parts[0] + "/" + parts[2], version, parts[4], ok
}

// parseSetVersion reads v1, v2 and so on.
func parseSetVersion(text string) (int, bool) {
	digits, ok := strings.CutPrefix(text, "v")
	version, err := strconv.Atoi(digits)
	return version, ok && err == nil && version > 0 && strconv.Itoa(version) == digits
}

func (s *Service) readManifest(ctx context.Context, set bulkSet, version int) (fhir.Manifest, error) {
	const limit = 1 << 20 // a manifest has a line a kind of resource
	var manifest fhir.Manifest
	key := set.prefix() + "v" + strconv.Itoa(version) + "/" + manifestName
	raw, err := s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Reports, key, limit)
	if err == nil {
		err = json.Unmarshal(raw, &manifest)
	}
	if err != nil {
		return manifest, fmt.Errorf("reading %s: %w", key, err)
	}
	return manifest, nil
}

// publishedSets are the newest version of every set of a night, by clinic. night "": of the last night that has one that is among
// clinics. It returns that night.
func (s *Service) publishedSets(ctx context.Context, night string, among func(clinic string) bool) (string, map[string]int, error) {
	prefix := nightsPrefix
	if night != "" {
		prefix += night + "/fhir/"
	}
	sets := map[string]int{}
	for info, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Reports, prefix) {
		if err != nil {
			return "", nil, fmt.Errorf("listing the nights that are published: %w", err)
		}
		of, version, file, ok := parseBulkKey(info.Key)
		day, clinic := path.Split(of)
		if day = strings.TrimSuffix(day, "/"); !ok || file != manifestName || !event.ValidClinic(clinic) || !among(clinic) {
			continue
		}
		if day > night {
			night, sets = day, map[string]int{}
		}
		if day == night {
			sets[clinic] = max(sets[clinic], version)
		}
	}
	return night, sets, nil
}

// sortedClinics are the clinics of sets.
func sortedClinics(sets map[string]int) []string {
	var clinics []string
	for clinic := range sets {
		clinics = append(clinics, clinic)
	}
	slices.Sort(clinics)
	return clinics
}
