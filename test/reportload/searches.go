package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	pageRows = 51 // a page and one more, which says that there are more
	// countTo is how far the service counts for FHIR and the page.
	countTo = 1000
	// listTo is how far it counts for the list of patients, where nobody is searched for.
	listTo = 20_000
)

// search is one that the service asks; each round is about something else.
type search struct {
	name string
	ask  func(ctx context.Context, x *index, s site, r *rand.Rand) error
	// reads tells that no index answers it: it may read a whole table.
	reads bool
}

// scopes are the clinics of tokens.
var scopes = []struct {
	name    string
	clinics []string
}{
	{"all clinics", nil},
	{"the largest clinic", []string{"clinic01"}},
	{"a small clinic", []string{"clinic11"}},
	{"three clinics", []string{"clinic02", "clinic07", "clinic12"}},
}

// page is the first page of a FHIR search, with its total.
func page(ctx context.Context, x *index, q store.ReportQuery) error {
	last, err := x.LastUpdate(ctx)
	if err != nil {
		return err
	}
	q.Snapshot, q.Limit, q.CountTo = last, pageRows, countTo
	if _, err := x.CountReports(ctx, q); err != nil {
		return err
	}
	_, err = x.FindReports(ctx, q)
	return err
}

func searches() []search {
	var all []search
	for _, scope := range scopes {
		add := func(name string, query func(s site, r *rand.Rand) store.ReportQuery) {
			all = append(all, search{name: name + ", " + scope.name, ask: func(ctx context.Context, x *index, s site, r *rand.Rand) error {
				q := query(s, r)
				q.Clinics = scope.clinics
				return page(ctx, x, q)
			}})
		}
		add("patient", func(s site, r *rand.Rand) store.ReportQuery {
			return store.ReportQuery{PatientKeys: []string{hexOf("patient", r.IntN(s.patients()))[:32]}}
		})
		add("patient identifier", func(s site, r *rand.Rand) store.ReportQuery {
			p := s.patient(r.IntN(s.patients()))
			return store.ReportQuery{Identifiers: []store.Identifier{{ID: p.ID, Issuer: &p.Issuer}}}
		})
		add("study date, a day", func(s site, r *rand.Rand) store.ReportQuery {
			day := s.issued(r.IntN(s.Reports))
			return store.ReportQuery{Sort: store.SortStudyDate, StudyDates: []store.TextSpan{{From: day.Format(time.DateOnly), To: day.AddDate(0, 0, 1).Format(time.DateOnly)}}}
		})
		add("study date, since a day", func(s site, r *rand.Rand) store.ReportQuery {
			return store.ReportQuery{Sort: store.SortStudyDate, StudyDates: []store.TextSpan{{From: s.issued(r.IntN(s.Reports)).Format(time.DateOnly)}}}
		})
		add("patient and study date", func(s site, r *rand.Rand) store.ReportQuery {
			n := r.IntN(s.Reports)
			return store.ReportQuery{Sort: store.SortStudyDate, PatientKeys: []string{hexOf("patient", s.patientOf(n))[:32]}, StudyDates: []store.TextSpan{{From: s.studyDate(n)}}}
		})
		add("issued since", func(s site, r *rand.Rand) store.ReportQuery {
			return store.ReportQuery{Sort: store.SortIssued, Issued: []store.Span{{From: s.issued(r.IntN(s.Reports))}}}
		})
		add("_lastUpdated, any moment", func(s site, r *rand.Rand) store.ReportQuery {
			return store.ReportQuery{Updated: []store.Span{{From: s.issued(r.IntN(s.Reports))}}}
		})
		add("_lastUpdated, the last hour", func(_ site, r *rand.Rand) store.ReportQuery {
			return store.ReportQuery{Updated: []store.Span{{From: end.Add(-time.Duration(r.Int64N(int64(time.Hour))))}}}
		})
		add("all, newest first", func(site, *rand.Rand) store.ReportQuery { return store.ReportQuery{Descending: true} })
		add("accession number", func(s site, r *rand.Rand) store.ReportQuery {
			n := r.IntN(s.Reports)
			doc, err := s.report(sample, n)
			if err != nil {
				panic(err) // the same call made the index
			}
			return store.ReportQuery{Accessions: []string{doc.AccessionNumber}}
		})
		people := func(name string, query func(s site, r *rand.Rand) store.PatientQuery) {
			all = append(all, search{name: "patients " + name + ", " + scope.name, ask: func(ctx context.Context, x *index, s site, r *rand.Rand) error {
				q := query(s, r)
				q.Clinics, q.Limit, q.CountTo = scope.clinics, pageRows, countTo
				_, _, err := x.FindPatients(ctx, q)
				return err
			}})
		}
		slow := func(name string, query func(s site, r *rand.Rand) store.PatientQuery) {
			people(name, query)
			all[len(all)-1].reads = true
		}
		named := func(s site, r *rand.Rand) string { return s.patient(r.IntN(s.patients())).Name }
		people("by name", func(s site, r *rand.Rand) store.PatientQuery {
			return store.PatientQuery{Search: named(s, r), ByKey: true}
		})
		people("by a common name", func(site, *rand.Rand) store.PatientQuery { return store.PatientQuery{Search: "nguyen", ByKey: true} })
		people("by four letters", func(s site, r *rand.Rand) store.PatientQuery {
			return store.PatientQuery{Search: named(s, r)[:4]}
		})
		people("by two letters", func(s site, r *rand.Rand) store.PatientQuery {
			return store.PatientQuery{Search: named(s, r)[:2]}
		})
		people("by a name that nobody has", func(site, *rand.Rand) store.PatientQuery { return store.PatientQuery{Search: "xylophon"} })
		slow("by two letters that nobody has", func(site, *rand.Rand) store.PatientQuery { return store.PatientQuery{Search: "qx"} })
		people("by identifier", func(s site, r *rand.Rand) store.PatientQuery {
			return store.PatientQuery{Identifiers: []store.Identifier{{ID: s.patient(r.IntN(s.patients())).ID}}, ByKey: true}
		})
		people("all, last changed first", func(site, *rand.Rand) store.PatientQuery { return store.PatientQuery{Changed: true} })
		people("all, page 100", func(site, *rand.Rand) store.PatientQuery { return store.PatientQuery{Changed: true, Offset: 99 * 50} })
		// The page's list: what is found, and how many there are.
		list := func(name string, query func(s site, r *rand.Rand) store.LineQuery) {
			all = append(all, search{name: "list " + name + ", " + scope.name, ask: func(ctx context.Context, x *index, s site, r *rand.Rand) error {
				q := query(s, r)
				q.Clinics, q.Limit, q.CountTo = scope.clinics, pageRows, listTo
				if q.Search != "" {
					q.CountTo = countTo
				}
				if _, err := x.FindLines(ctx, q); err != nil {
					return err
				}
				_, err := x.CountLines(ctx, q)
				return err
			}})
		}
		list("as it opens", func(site, *rand.Rand) store.LineQuery { return store.LineQuery{Descending: true} })
		list("by name", func(site, *rand.Rand) store.LineQuery { return store.LineQuery{Sort: store.LineName} })
		list("by study date", func(site, *rand.Rand) store.LineQuery {
			return store.LineQuery{Sort: store.LineStudyDate, Descending: true}
		})
		list("of a night", func(s site, r *rand.Rand) store.LineQuery {
			at := s.issued(r.IntN(s.Reports)).Truncate(24 * time.Hour).Add(12 * time.Hour)
			return store.LineQuery{First: store.Span{From: at, To: at.AddDate(0, 0, 1)}, Descending: true}
		})
		for _, mark := range store.Marks() {
			list(string(mark), func(site, *rand.Rand) store.LineQuery {
				return store.LineQuery{Marks: []store.Mark{mark}, Descending: true}
			})
		}
		list("amended", func(site, *rand.Rand) store.LineQuery {
			return store.LineQuery{Statuses: []string{"amended"}, Descending: true}
		})
		list("of a name", func(s site, r *rand.Rand) store.LineQuery {
			return store.LineQuery{Search: named(s, r), Descending: true}
		})
		list("of a common name", func(site, *rand.Rand) store.LineQuery { return store.LineQuery{Search: "nguyen", Descending: true} })
		list("of a common name, by name", func(site, *rand.Rand) store.LineQuery { return store.LineQuery{Search: "nguyen", Sort: store.LineName} })
		list("of a name that nobody has", func(site, *rand.Rand) store.LineQuery { return store.LineQuery{Search: "xylophon", Descending: true} })
		list("of a common name, failed", func(site, *rand.Rand) store.LineQuery {
			return store.LineQuery{Search: "nguyen", Marks: []store.Mark{store.MarkFailed}, Descending: true}
		})
		all = append(all, search{name: "status of the night, " + scope.name, ask: func(ctx context.Context, x *index, _ site, _ *rand.Rand) error {
			_, err := x.Count(ctx, scope.clinics, end.Add(-12*time.Hour))
			if err == nil {
				_, _, err = x.Pace(ctx, scope.clinics, end.Add(-time.Minute))
			}
			return err
		}})
		all = append(all, nightSearches(scope.name, scope.clinics)...)
		all = append(all, search{name: "status of all times, " + scope.name, reads: true, ask: func(ctx context.Context, x *index, _ site, _ *rand.Rand) error {
			_, err := x.Count(ctx, scope.clinics, time.Time{})
			return err
		}})
	}
	return all
}
