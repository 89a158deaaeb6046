package report

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/reportpdf"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	pdfName = "report.pdf"
	// pdfPictureWidthPx is sharp in print: 200 dots an inch where pictures have the width of a column, 400 where two share it.
	pdfPictureWidthPx = 700
	// pdfLimit bounds a document read from the bucket; one has 300 KB.
	pdfLimit = 8 << 20
)

// PDF returns a version of a report as a page for people. key is where report.json lies; report.pdf lies beside it from the first time that
// somebody asks for it (ADR 26). One that was lost is made again. As many are made at a time as photographs are decoded.
func (s *Service) PDF(ctx context.Context, doc *record.Report, key string) ([]byte, error) {
	bucket, pdfKey := s.deps.Blob.Buckets().Reports, path.Dir(key)+"/"+pdfName
	raw, err := s.deps.Blob.GetBytes(ctx, bucket, pdfKey, pdfLimit)
	if !fault.Is(err, fault.NotFound) {
		return raw, err
	}
	return s.pictures.get(ctx, pdfKey, func(ctx context.Context) ([]byte, error) {
		raw, err := s.makePDF(ctx, doc)
		if err != nil {
			return nil, fmt.Errorf("making version %d of report %s as a PDF: %w", doc.Version, doc.ReportID, err)
		}
		err = s.deps.Blob.PutBytes(ctx, bucket, pdfKey, raw, blob.PutOptions{ContentType: "application/pdf", IfNoneMatch: true})
		if fault.Is(err, fault.Conflict) { // another process was faster: what it wrote is what everybody gets
			return s.deps.Blob.GetBytes(ctx, bucket, pdfKey, pdfLimit)
		}
		return raw, err
	})
}

func (s *Service) makePDF(ctx context.Context, doc *record.Report) ([]byte, error) {
	in := reportpdf.Input{Report: doc, Eyes: map[record.Laterality]reportpdf.Pictures{}, Location: s.cfg.Location}
	for _, side := range []record.Laterality{record.RightEye, record.LeftEye} {
		img := reportpdf.Shown(doc, side)
		if img == nil || img.Status == record.ImageFailed || img.Status == record.ImagePending {
			continue
		}
		var p reportpdf.Pictures
		instanceKey := strings.TrimSuffix(img.ArchiveKey, path.Ext(img.ArchiveKey)) + documentSuffix
		var err error
		if p.Photo, err = orNone(s.photo(ctx, store.Image{ArchiveKey: img.ArchiveKey, InstanceKey: instanceKey}, pdfPictureWidthPx)); err != nil {
			return nil, err
		}
		if img.OverlayKey != "" && img.ResultKey != "" {
			if p.Overlay, err = orNone(s.derived(ctx, img.ResultKey, path.Base(img.OverlayKey), pdfPictureWidthPx)); err != nil {
				return nil, err
			}
		}
		in.Eyes[side] = p
	}
	writer, err := s.pdfWriter()
	if err != nil {
		return nil, err
	}
	return writer.Write(in)
}

// orNone leaves out a picture that cannot be shown, now or later: the page says so in its place.
func orNone(raw []byte, err error) ([]byte, error) {
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) || fault.Is(err, fault.Unsupported) || fault.CodeOf(err) == pictureUnreadableCode {
		return nil, nil
	}
	return raw, err
}

// apiReportPDF answers GET /api/reports/{id}/report.pdf[?version=].
func (s *Service) apiReportPDF(w http.ResponseWriter, r *http.Request) error {
	version, err := intParam(r.URL.Query(), "version", 0, 1, 1<<30)
	if err != nil {
		return err
	}
	found, err := s.visibleReport(r.Context(), r.PathValue("id"), version)
	if err != nil {
		return err
	}
	entity, etag := reportEntity(record.EntityReport, found, found.ReportID+"/"+pdfName), fmt.Sprintf(`"%d-pdf"`, found.Version)
	w.Header().Set("Cache-Control", "private, no-cache")
	if matches(r, etag) { // of a version there is one document for good: it is seen again, from the browser's memory, and neither fetched nor made
		if err := s.audited(r, entity); err != nil {
			return err
		}
	}
	if notModified(w, r, etag, found.UpdatedAt) {
		return nil
	}
	doc, err := s.documentOf(r.Context(), found)
	if err != nil {
		return err
	}
	raw, err := s.PDF(r.Context(), doc, found.DocumentKey)
	if err != nil {
		return err
	}
	if err := s.audited(r, entity); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/pdf")
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	w.Header().Set("Content-Disposition", fmt.Sprintf(`inline; filename="noctua-report-%s-v%d.pdf"`, found.ReportID, found.Version))
	s.send(w, raw)
	return nil
}
