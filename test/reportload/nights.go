package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

// monthNights are listed on a page.
const monthNights = 30

// nightSearches are what the pages of nights ask: of tonight again and again, of a night that is over once.
func nightSearches(scope string, clinics []string) []search {
	past := func(s site, r *rand.Rand) store.Span {
		from := s.issued(r.IntN(s.Reports)).Truncate(24 * time.Hour)
		return store.Span{From: from, To: from.AddDate(0, 0, 1)}
	}
	tonight := store.Span{From: end.Add(-12 * time.Hour)}
	var all []search
	add := func(name string, ask func(ctx context.Context, x *index, s site, r *rand.Rand) error) {
		all = append(all, search{name: name + ", " + scope, ask: ask})
	}
	add("tonight by clinic", func(ctx context.Context, x *index, _ site, _ *rand.Rand) error {
		_, err := x.CountClinics(ctx, clinics, tonight)
		return err
	})
	add("course of tonight", func(ctx context.Context, x *index, _ site, _ *rand.Rand) error {
		_, err := x.Course(ctx, clinics, store.Span{From: tonight.From, To: end}, 10*time.Minute)
		return err
	})
	add("what needs a person tonight", func(ctx context.Context, x *index, _ site, _ *rand.Rand) error {
		if _, err := x.Reasons(ctx, clinics, tonight, false, 12); err != nil {
			return err
		}
		if _, _, err := x.Incomplete(ctx, clinics, store.Span{From: end.AddDate(0, 0, -7), To: end}, 10); err != nil {
			return err
		}
		if _, err := x.Unheard(ctx, clinics, store.Span{From: end.AddDate(0, 0, -7), To: end}); err != nil {
			return err
		}
		_, err := x.CountReports(ctx, store.ReportQuery{Clinics: clinics, Statuses: []string{string(record.Amended)}, Updated: []store.Span{{From: tonight.From}}, CountTo: countTo})
		return err
	})
	add("a past night by clinic", func(ctx context.Context, x *index, s site, r *rand.Rand) error {
		_, err := x.CountClinics(ctx, clinics, past(s, r))
		return err
	})
	add("eyes to photograph again of a past night", func(ctx context.Context, x *index, s site, r *rand.Rand) error {
		_, err := x.ReportsWith(ctx, clinics, []record.ImageStatus{record.ImageUngradable, record.ImageFailed}, past(s, r), 40)
		return err
	})
	add("amended in a past night", func(ctx context.Context, x *index, s site, r *rand.Rand) error {
		in := past(s, r)
		_, err := x.FindReports(ctx, store.ReportQuery{Clinics: clinics, Statuses: []string{string(record.Amended)}, Updated: []store.Span{in}, Snapshot: in.To, Sort: store.SortUpdated, Descending: true, Limit: 11})
		return err
	})
	add("nights beside a past one", func(ctx context.Context, x *index, s site, r *rand.Rand) error {
		in := past(s, r)
		if _, err := x.LastBefore(ctx, clinics, in.From); err != nil {
			return err
		}
		_, err := x.FirstAfter(ctx, clinics, in.To)
		return err
	})
	add("the nights of a month", func(ctx context.Context, x *index, s site, r *rand.Rand) error {
		in := past(s, r)
		for range monthNights {
			if _, err := x.CountClinics(ctx, clinics, in); err != nil {
				return err
			}
			in = store.Span{From: in.To, To: in.To.AddDate(0, 0, 1)}
		}
		return nil
	})
	return all
}
