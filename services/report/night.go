package report

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/measuretable"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// The tables of a clinic's night lie in the reports bucket at nights/<yyyy-mm-dd>/measures/<clinic>/v<N>/, the night being named by the day on
// which it began; night.json is written last and makes a version whole. A report belongs to the night in which it was first issued, so that
// it never moves; when it is amended, that night has a new version beside the old ones.
const (
	nightsPrefix   = "nights/"
	nightDocument  = "night.json"
	nightCSV       = "measures.csv"
	nightParquet   = "measures.parquet"
	nightsLookedAt = nightsPrefix + "looked-at.json"

	// nightPoll is how often it is looked whether a night is over, or one was amended.
	nightPoll = time.Minute
	// nightPage reports are looked at a time, which bounds memory.
	nightPage = 200
	// nightRaces bounds how often a version is made again because its number was taken, by another process or a broken off attempt.
	nightRaces = 16
	// nightSlack widens the search for a night's reports: an index that is made anew may have moved a report by some milliseconds.
	nightSlack = time.Hour
)

// clinicNight is a night of a clinic.
type clinicNight struct {
	clinic string
	began  time.Time
}

func (n clinicNight) date() string { return n.began.Format(time.DateOnly) }

func (n clinicNight) prefix() string { return nightsPrefix + n.date() + "/measures/" + n.clinic + "/" }

// nightOf is when the night of a moment began.
func nightOf(at time.Time, zone *time.Location) time.Time {
	at = at.In(zone)
	began := time.Date(at.Year(), at.Month(), at.Day(), nightBegins, 0, 0, 0, zone)
	if at.Before(began) {
		began = began.AddDate(0, 0, -1)
	}
	return began
}

// nights is what the loop remembers between two looks; a restart begins with what is noted in the bucket. Without a note all reports are looked at
// once more, which writes nothing twice.
type nights struct {
	cursor time.Time // reports that were updated before it have been looked at
	noted  time.Time // cursor that is in the bucket
	begun  bool
	open   map[clinicNight]bool // nights with reports, whose tables are not up to date
}

// nightLoop writes the tables of nights that are over, again and again.
func (s *Service) nightLoop(ctx context.Context) error {
	var n nights
	for {
		if err := s.writeNights(ctx, &n); err != nil {
			if fault.Interrupted(err) {
				return err
			}
			s.deps.Logger.Warn("the tables of a night could not be written and will be tried again", slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
		}
		if err := pause(ctx, nightPoll); err != nil {
			return err
		}
	}
}

// writeNights looks at what was issued since the last time, and writes the tables of those nights that are over.
func (s *Service) writeNights(ctx context.Context, n *nights) error {
	if !n.begun {
		note, err := readDocument[record.Nights](ctx, s.deps.Blob, s.deps.Blob.Buckets().Reports, nightsLookedAt, record.NightsSchema)
		switch {
		case fault.Is(err, fault.NotFound):
			note = &record.Nights{}
		case fault.Is(err, fault.Invalid):
			s.deps.Logger.Warn("the note on nights cannot be read; all reports are looked at again", slog.String("key", nightsLookedAt))
			note = &record.Nights{}
		case err != nil:
			return err
		}
		n.cursor, n.noted, n.begun, n.open = note.Until, note.Until, true, map[clinicNight]bool{}
	}
	current := s.night()
	if err := s.lookAtReports(ctx, n); err != nil {
		return err
	}
	sorted := make([]clinicNight, 0, len(n.open))
	for night := range n.open {
		sorted = append(sorted, night)
	}
	slices.SortFunc(sorted, func(a, b clinicNight) int { return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.clinic, b.clinic)) })
	var failed error
	for _, night := range sorted {
		if !night.began.Before(current) {
			continue // it is not over
		}
		err := s.writeNight(ctx, night)
		switch {
		case err == nil:
			delete(n.open, night)
		case fault.Interrupted(err), fault.Is(err, fault.Transient):
			return err
		default:
			// One night must not keep others out.
			s.deps.Logger.Error("the tables of a night could not be written", slog.String("clinic", night.clinic), slog.String("night", night.date()), slog.String("code", fault.CodeOf(err)), slog.Any("error", err))
			failed = err
		}
	}
	// Reports of the night that goes on are looked at again after a restart.
	if failed == nil && n.cursor.After(current) && n.noted.Before(current) {
		raw, err := record.Encode(record.NightsSchema, record.Nights{Schema: record.NightsSchema, Until: current.UTC()})
		if err != nil {
			return err
		}
		if err := s.deps.Blob.PutBytes(ctx, s.deps.Blob.Buckets().Reports, nightsLookedAt, raw, blob.PutOptions{ContentType: "application/json"}); err != nil {
			return fmt.Errorf("noting how far nights are written: %w", err)
		}
		n.noted = current
	}
	return nil
}

// lookAtReports finds the nights whose reports are new or amended since the cursor, and moves it.
func (s *Service) lookAtReports(ctx context.Context, n *nights) error {
	query := store.ReportQuery{Sort: store.SortUpdated, Limit: nightPage}
	if !n.cursor.IsZero() {
		query.Updated = []store.Span{{From: n.cursor}}
	}
	for {
		page, err := s.deps.Store.FindReports(ctx, query)
		if err != nil {
			return err
		}
		for _, r := range page {
			doc, err := s.documentOf(ctx, r)
			if err != nil {
				return fmt.Errorf("reading report %s: %w", r.ReportID, err)
			}
			n.open[clinicNight{r.Clinic, nightOf(doc.FirstIssuedAt, s.cfg.Location)}] = true
			n.cursor = r.UpdatedAt.Add(time.Millisecond) // which is what times in the index are counted in
		}
		if len(page) < nightPage {
			return nil
		}
		after := store.PositionOf(page[len(page)-1], store.SortUpdated)
		query.After = &after
	}
}

// nightReports are the newest versions of the reports that were first issued in a night, by their ids.
func (s *Service) nightReports(ctx context.Context, night clinicNight) ([]*record.Report, error) {
	end := night.began.AddDate(0, 0, 1)
	// Whatever was first issued in the night was newest at its end as issued within it, or a moment later.
	query := store.ReportQuery{Clinics: []string{night.clinic}, Sort: store.SortUpdated, Limit: nightPage, Snapshot: end.Add(nightSlack),
		Updated: []store.Span{{From: night.began.Add(-nightSlack), To: end.Add(nightSlack)}}}
	found := map[string]*record.Report{}
	for {
		page, err := s.deps.Store.FindReports(ctx, query)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, r := range page {
			ids = append(ids, r.ReportID)
		}
		if len(ids) > 0 {
			newest, err := s.deps.Store.FindReports(ctx, store.ReportQuery{ReportIDs: ids, Clinics: []string{night.clinic}, Limit: len(ids)})
			if err != nil {
				return nil, err
			}
			for _, r := range newest {
				doc, err := s.documentOf(ctx, r)
				if err != nil {
					return nil, fmt.Errorf("reading report %s: %w", r.ReportID, err)
				}
				if nightOf(doc.FirstIssuedAt, s.cfg.Location).Equal(night.began) {
					found[doc.ReportID] = doc
				}
			}
		}
		if len(page) < nightPage {
			break
		}
		after := store.PositionOf(page[len(page)-1], store.SortUpdated)
		query.After = &after
	}
	all := make([]*record.Report, 0, len(found))
	for _, doc := range found {
		all = append(all, doc)
	}
	slices.SortFunc(all, func(a, b *record.Report) int { return cmp.Compare(a.ReportID, b.ReportID) })
	return all, nil
}

// writeNight writes a version of a night's tables unless the newest is made of the same reports.
func (s *Service) writeNight(ctx context.Context, night clinicNight) error {
	if !event.ValidClinic(night.clinic) {
		return fault.New(fault.Internal, "clinic-invalid", "the clinic of a report cannot be part of a key")
	}
	reports, err := s.nightReports(ctx, night)
	if err != nil || len(reports) == 0 {
		return err
	}
	var sources strings.Builder
	var rows []measuretable.ReportRow
	for _, r := range reports {
		fmt.Fprintf(&sources, "%s %d\n", r.ReportID, r.Version)
		rows = append(rows, measuretable.ReportRows(r)...)
	}
	doc := record.Night{Schema: record.NightSchema, Clinic: night.clinic, Night: night.date(), BeganAt: night.began.UTC(), EndedAt: night.began.AddDate(0, 0, 1).UTC(), Reports: len(reports),
		Rows: len(rows), SourcesSha256: hashOf([]byte(sources.String())), CodeVersion: s.cfg.Version}
	newest, err := s.newestNight(ctx, night)
	if err != nil {
		return err
	}
	if newest != nil && newest.SourcesSha256 == doc.SourcesSha256 {
		return nil
	}
	doc.Version = 1
	if newest != nil {
		doc.Version = newest.Version + 1
	}
	var table, columns bytes.Buffer
	if err := measuretable.WriteReportCSV(&table, rows); err != nil {
		return err
	}
	if err := measuretable.WriteReportParquet(&columns, rows); err != nil {
		return err
	}
	doc.CsvSha256, doc.ParquetSha256 = hashOf(table.Bytes()), hashOf(columns.Bytes())
	for range nightRaces {
		done, err := s.putNight(ctx, night, doc, table.Bytes(), columns.Bytes())
		if err != nil {
			return err
		}
		if done {
			s.deps.Logger.Info("the tables of a night are written", slog.String("clinic", night.clinic), slog.String("night", doc.Night), slog.Int("version", doc.Version), slog.Int("reports", doc.Reports), slog.Int("rows", doc.Rows))
			return nil
		}
		doc.Version++
	}
	return fault.New(fault.Transient, "version-race", "other processes kept writing versions of this night's tables")
}

func hashOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// putNight writes a version, its document last. false: something else lies under that number, whole or broken off.
func (s *Service) putNight(ctx context.Context, night clinicNight, doc record.Night, table, columns []byte) (bool, error) {
	raw, err := record.Encode(record.NightSchema, doc)
	if err != nil {
		return false, err
	}
	folder := night.prefix() + "v" + strconv.Itoa(doc.Version) + "/"
	for _, file := range []struct {
		name, mediaType string
		raw             []byte
	}{{nightCSV, "text/csv; charset=utf-8", table}, {nightParquet, parquetType, columns}, {nightDocument, "application/json", raw}} {
		err := s.deps.Blob.PutBytes(ctx, s.deps.Blob.Buckets().Reports, folder+file.name, file.raw, blob.PutOptions{ContentType: file.mediaType, IfNoneMatch: true})
		if fault.Is(err, fault.Conflict) {
			there, err := s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Reports, folder+file.name, int64(len(file.raw))+1)
			if err != nil && !fault.Is(err, fault.Invalid) {
				return false, fmt.Errorf("reading %s: %w", folder+file.name, err)
			}
			if !bytes.Equal(there, file.raw) {
				return false, nil
			}
			continue // an attempt before this one came so far
		}
		if err != nil {
			return false, fmt.Errorf("writing %s: %w", folder+file.name, err)
		}
	}
	return true, nil
}

var nightPattern = regexp.MustCompile(`^nights/([0-9]{4}-[0-9]{2}-[0-9]{2})/measures/([A-Za-z0-9][A-Za-z0-9_-]{0,63})/v([1-9][0-9]{0,5})/night\.json$`)

// nightVersion is a version of a night's tables that is whole.
type nightVersion struct {
	night, clinic string
	version       int
}

func (v nightVersion) key(file string) string {
	return path.Join(nightsPrefix, v.night, "measures", v.clinic, "v"+strconv.Itoa(v.version), file)
}

// nightVersions are the whole versions below a prefix, of each night and clinic the newest, in the order of keys.
func (s *Service) nightVersions(ctx context.Context, prefix string) ([]nightVersion, error) {
	var all []nightVersion
	for info, err := range s.deps.Blob.List(ctx, s.deps.Blob.Buckets().Reports, prefix) {
		if err != nil {
			return nil, fmt.Errorf("listing nights: %w", err)
		}
		m := nightPattern.FindStringSubmatch(info.Key)
		if m == nil {
			continue
		}
		number, err := strconv.Atoi(m[3])
		if err != nil {
			continue // the pattern has digits alone
		}
		v := nightVersion{m[1], m[2], number}
		if last := len(all) - 1; last >= 0 && all[last].night == v.night && all[last].clinic == v.clinic {
			all[last].version = max(all[last].version, v.version)
			continue
		}
		all = append(all, v)
	}
	return all, nil
}

// newestNight is the newest whole version of a night's tables, or nil.
func (s *Service) newestNight(ctx context.Context, night clinicNight) (*record.Night, error) {
	versions, err := s.nightVersions(ctx, night.prefix())
	if err != nil || len(versions) == 0 {
		return nil, err
	}
	return readDocument[record.Night](ctx, s.deps.Blob, s.deps.Blob.Buckets().Reports, strings.TrimPrefix(versions[0].key(nightDocument), "/"), record.NightSchema)
}
