package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/noctua-screening/noctua/services/report/store"
)

// progressEvery rows somebody is told.
const progressEvery = 10_000

// fill puts the site into an empty index, by COPY, and lets the database count what it holds.
func fill(ctx context.Context, address string, s site, progress func(done int, text string)) (err error) {
	x, err := openIndex(ctx, address) // which migrates
	if err != nil {
		return err
	}
	if err := x.db.Close(); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var filled bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM reports)`).Scan(&filled); err != nil {
		return err
	}
	if filled {
		return errors.New("the index is not empty; give another database")
	}
	of, err := example()
	if err != nil {
		return err
	}
	began := time.Now()
	copyRows := func(table string, columns []string, rows int, row func(n int) ([]any, error)) error {
		_, err := conn.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(rows, func(n int) ([]any, error) {
			if n%progressEvery == 0 {
				rate := float64(n) / time.Since(began).Seconds()
				progress(n, fmt.Sprintf("of %d rows of %s, %.0f/s, %.0f s left   ", rows, table, rate, float64(rows-n)/max(rate, 1)))
			}
			return row(n)
		}))
		if err != nil {
			return fmt.Errorf("copying into %s: %w", table, err)
		}
		progress(rows, fmt.Sprintf("rows of %s in %.0f s                              \n", table, time.Since(began).Seconds()))
		began = time.Now()
		return nil
	}
	last := make([]int64, s.patients())
	if err := copyRows("reports", []string{"report_id", "version", "document_key", "clinic", "patient_key", "patient_id", "patient_issuer", "study_uid", "accession",
		"study_date", "status", "issued_ms", "updated_ms", "superseded_ms", "document"}, 2*s.Reports, func(row int) ([]any, error) {
		n, final := row/2, row%2 == 1
		doc, err := s.report(of, n)
		if err != nil {
			return nil, err
		}
		at, until := doc.FirstIssuedAt.UnixMilli(), doc.IssuedAt.UnixMilli()
		version, status, text := 1, "preliminary", ""
		if final {
			version, status, at, until = 2, "final", until, math.MaxInt64
			if text, err = encode(doc); err != nil {
				return nil, err
			}
			last[s.patientOf(n)] = at
		}
		return []any{doc.ReportID, version, fmt.Sprintf("patients/%s/%s/v%d/report.json", doc.Patient.Key, doc.ReportID, version), doc.Clinic, doc.Patient.Key, doc.Patient.ID,
			doc.Patient.Issuer, doc.StudyUID, doc.AccessionNumber, doc.StudyDate, status, at, at, until, text}, nil
	}); err != nil {
		return err
	}
	// Patients without a report are not known; those that are have the numbers of known.
	var known []int
	for n, at := range last {
		if at > 0 {
			known = append(known, n)
		}
	}
	if err := copyRows("patients", []string{"patient_key", "clinic", "patient_id", "issuer", "name", "search", "birth_date", "sex", "updated_ms"}, len(known), func(row int) ([]any, error) {
		p := s.patient(known[row])
		return []any{p.Key, p.Clinic, p.ID, p.Issuer, p.Name, store.Fold(p.Name + " " + p.ID), p.BirthDate, string(p.Sex), last[known[row]]}, nil
	}); err != nil {
		return err
	}
	if err := copyRows("images", []string{"sop_uid", "sha256", "instance_key", "archive_key", "study_uid", "clinic", "patient_key", "report_id", "analyse", "received_ms",
		"status", "outcome_key", "reported_status", "reported_outcome", "reported_ms", "settled"}, 2*s.Reports, func(row int) ([]any, error) {
		doc, err := s.report(of, row/2)
		if err != nil {
			return nil, err
		}
		image := doc.Images[row%2]
		settled, at := 1, doc.FirstIssuedAt.UnixMilli()
		if image.Status == "failed" {
			settled = 2
		}
		return []any{image.SOPUID, image.Sha256, image.ArchiveKey + ".json", image.ArchiveKey, doc.StudyUID, doc.Clinic, doc.Patient.Key, doc.ReportID, 1, at,
			string(image.Status), image.ResultKey, string(image.Status), image.ResultKey, at, settled}, nil
	}); err != nil {
		return err
	}
	if err := copyRows("outcomes", []string{"outcome_key", "sop_uid", "sha256", "failed", "status", "model_sha256", "model_name", "model_version", "finished_ms"}, 2*s.Reports, func(row int) ([]any, error) {
		doc, err := s.report(of, row/2)
		if err != nil {
			return nil, err
		}
		image := doc.Images[row%2]
		failed := 0
		if image.Status == "failed" {
			failed = 1
		}
		return []any{image.ResultKey, image.SOPUID, image.Sha256, failed, string(image.Status), modelSHA, "unet", "1", doc.FirstIssuedAt.UnixMilli()}, nil
	}); err != nil {
		return err
	}
	if err := copyRows("studies", []string{"report_id", "clinic", "patient_key", "study_uid", "changes", "covered", "dirty_ms", "changed_ms", "pending", "status", "due_ms"}, s.Reports, func(n int) ([]any, error) {
		doc, err := s.report(of, n)
		if err != nil {
			return nil, err
		}
		return []any{doc.ReportID, doc.Clinic, doc.Patient.Key, doc.StudyUID, 4, 4, 0, doc.FirstIssuedAt.UnixMilli(), 0, "final", int64(1) << 62}, nil
	}); err != nil {
		return err
	}
	latest := s.latest()
	columns, _ := store.LineValues(&of, 0)
	if err := copyRows("lines", append(columns, "latest"), s.Reports, func(n int) ([]any, error) {
		doc, err := s.report(of, n)
		if err != nil {
			return nil, err
		}
		_, values := store.LineValues(&doc, doc.IssuedAt.UnixMilli())
		shown := 0
		if latest[n] {
			shown = 1
		}
		return append(values, shown), nil
	}); err != nil {
		return err
	}
	// What the server does by itself in time.
	if _, err := conn.Exec(ctx, `VACUUM ANALYSE`); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `INSERT INTO settings (name, value) VALUES ('complete', 'yes'), ('model', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, modelSHA)
	return err
}
