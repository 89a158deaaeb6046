package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/schemas"
)

// site is a made-up site. Everything about report n follows from n and the seed.
type site struct {
	Reports int
	Seed    uint64
}

// span of the reports' moments of issue.
var (
	begin = time.Date(2021, 12, 1, 0, 0, 0, 0, time.UTC)
	end   = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
)

// clinicShare is the number of patients of each clinic among 10,000.
var clinicShare = []int{3000, 2000, 1500, 1000, 800, 600, 500, 300, 200, 78, 20, 2}

const (
	shareOf       = 10_000
	patientsEach  = 0.4 // of a report
	quietPeriod   = 30 * time.Second
	modelSHA      = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	lateStudies   = 0.02 // of them are imported long after they were made
	undated       = 0.005
	changedShare  = 0.15 // of reports
	failedShare   = 0.01 // of images
	ungradedShare = 0.08
)

func (s site) patients() int { return max(1, int(float64(s.Reports)*patientsEach)) }

func (s site) random(kind uint64, n int) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed<<8|kind, uint64(n)))
}

func hexOf(kind string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", kind, n))
	return hex.EncodeToString(sum[:])
}

type patient struct {
	record.PatientIdentity
	Clinic string
}

// clinicOf is the clinic of a patient: clinic01 is the largest.
func (s site) clinicOf(n int) string {
	at := s.random(1, n).IntN(shareOf)
	for c, share := range clinicShare {
		if at -= share; at < 0 {
			return fmt.Sprintf("clinic%02d", c+1)
		}
	}
	return "clinic01"
}

// Names are put together of syllables: some 3,000 family names and 3,000 given ones, of which the first are much more common. One of 16 is NGUYEN.
var syllables = []string{"an", "be", "cor", "da", "el", "fi", "gor", "ha", "is", "jo", "ka", "lin", "mo", "na", "ol", "pe", "ra", "so", "ta", "ul", "va", "wen", "yo", "zi"}

func name(r *rand.Rand) string {
	f := r.Float64()
	n := int(f * f * 3000)
	return syllables[n%24] + syllables[(n/24)%24] + syllables[(n/7)%24]
}

func (s site) patient(n int) patient {
	r := s.random(2, n)
	family := name(r)
	if r.IntN(16) == 0 {
		family = "nguyen"
	}
	clinic := s.clinicOf(n)
	return patient{Clinic: clinic, PatientIdentity: record.PatientIdentity{Key: hexOf("patient", n), ID: fmt.Sprintf("P%07d", n), Issuer: "ISSUER-" + clinic,
		Name: family + "^" + name(r), BirthDate: begin.AddDate(-20-r.IntN(70), 0, r.IntN(365)).Format(time.DateOnly), Sex: "F"}}
}

// issued is when the preliminary version of report n is issued; the final one is a quiet period later.
func (s site) issued(n int) time.Time {
	return begin.Add(end.Sub(begin) / time.Duration(s.Reports) * time.Duration(n)).Truncate(time.Millisecond)
}

// patientOf is the patient of report n.
func (s site) patientOf(n int) int { return s.random(3, n).IntN(s.patients()) }

func (s site) studyDate(n int) string {
	r := s.random(4, n)
	switch at := r.Float64(); {
	case at < undated:
		return ""
	case at < undated+lateStudies:
		return s.issued(n).AddDate(0, 0, -r.IntN(2000)).Format(time.DateOnly)
	}
	return s.issued(n).Add(-12 * time.Hour).Format(time.DateOnly)
}

// example is the schema's example of a report, from which all are made.
func example() (record.Report, error) {
	raw, err := schemas.Files.ReadFile("examples/valid/report.v1.comparisons.json")
	if err != nil {
		return record.Report{}, err
	}
	doc, err := record.Decode[record.Report](record.ReportSchema, raw)
	if err != nil {
		return record.Report{}, err
	}
	return *doc, nil
}

// report is the final version of report n.
func (s site) report(of record.Report, n int) (record.Report, error) {
	number := s.patientOf(n)
	p := s.patient(number)
	doc := of
	doc.ReportID, doc.Version, doc.Status = hexOf("report", n)[:32], 2, record.Final
	doc.FirstIssuedAt, doc.IssuedAt = s.issued(n), s.issued(n).Add(quietPeriod)
	doc.Clinic, doc.Patient, doc.StudyUID, doc.StudyDate = p.Clinic, p.PatientIdentity, fmt.Sprintf("1.2.826.0.1.3680043.10.9999.%d", n), s.studyDate(n)
	doc.AccessionNumber = fmt.Sprintf("A%08d", n)
	image := doc.Images[0]
	doc.Images, doc.Counts, doc.Rejected, doc.Missing = nil, record.ReportCounts{Images: 2}, []record.ReportRejected{}, nil
	r := s.random(5, n)
	if s.random(6, n).Float64() >= changedShare {
		doc.Comparisons = nil
	}
	for i := range 2 {
		copied := image
		copied.SOPUID, copied.Sha256 = fmt.Sprintf("%s.%d", doc.StudyUID, i+1), hexOf("image", 2*n+i)
		copied.ArchiveKey = fmt.Sprintf("images/%s/%s/%s.dcm", doc.StudyUID, copied.SOPUID, copied.Sha256[:16])
		copied.ResultKey = fmt.Sprintf("images/%s/%s/%s/result.json", copied.SOPUID, copied.Sha256[:16], modelSHA[:12])
		copied.Laterality = []record.Laterality{record.RightEye, record.LeftEye}[i]
		switch at := r.Float64(); {
		case at < failedShare:
			copied.Status = record.ImageFailed
			doc.Counts.Failed++
		case at < failedShare+ungradedShare:
			copied.Status = record.ImageUngradable
			doc.Counts.Ungradable++
		}
		copied.Measures = nil
		for _, m := range image.Measures {
			value := r.Float64()
			m.Value = &value
			copied.Measures = append(copied.Measures, m)
		}
		doc.Images = append(doc.Images, copied)
	}
	return doc, nil
}

func encode(doc record.Report) (string, error) {
	raw, err := json.Marshal(doc)
	return string(raw), err
}

// latest are the numbers of the reports on the patients' latest studies.
func (s site) latest() map[int]bool {
	last := map[int]int{}
	for n := range s.Reports {
		p := s.patientOf(n)
		if before, ok := last[p]; !ok || s.studyDate(n) >= s.studyDate(before) {
			last[p] = n
		}
	}
	all := make(map[int]bool, len(last))
	for _, n := range last {
		all[n] = true
	}
	return all
}
