package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// sample is what made-up reports are made from.
var sample, sampleErr = example()

// measure asks each search again and again and says how long it takes, in milliseconds, and by which indexes.
func measure(ctx context.Context, address string, seed uint64, rounds int, out io.Writer) (err error) {
	if sampleErr != nil {
		return sampleErr
	}
	x, err := openIndex(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.db.Close()) }()
	s := site{Seed: seed}
	if err := x.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM reports WHERE version = 1`).Scan(&s.Reports); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%d reports\n\n| search | median, ms | 95 %%, ms | by |\n|---|---|---|---|\n", s.Reports); err != nil {
		return err
	}
	for _, search := range searches() {
		took := make([]time.Duration, 0, rounds)
		r := rand.New(rand.NewPCG(seed, 99))
		for range rounds {
			x.listener.take()
			began := time.Now()
			if err := search.ask(ctx, x, s, r); err != nil {
				return fmt.Errorf("%s: %w", search.name, err)
			}
			if took = append(took, time.Since(began)); len(took) >= 10 && time.Since(began) > time.Second {
				break // it is slow, which ten of them show
			}
		}
		var by []string
		for _, statement := range x.listener.take() {
			plan, err := x.explain(ctx, statement)
			if err != nil {
				return fmt.Errorf("%s: %w", search.name, err)
			}
			by = append(by, ways(plan)...)
		}
		slices.Sort(took)
		slices.Sort(by)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		if _, err := fmt.Fprintf(out, "| %s | %.1f | %.1f | %s |\n", search.name, ms(took[len(took)/2]), ms(took[len(took)*95/100]), strings.Join(slices.Compact(by), ", ")); err != nil {
			return err
		}
	}
	return nil
}

var (
	indexScan = regexp.MustCompile(`(?:Index Scan|Index Only Scan)(?: Backward)? using (\S+)|Bitmap Index Scan on (\S+)`)
	tableScan = regexp.MustCompile(`Seq Scan on (\S+)[^\n]*`)
)

// scanned is what is said before the name of a table that is read whole.
const scanned = "ALL OF "

// ways names the indexes and tables that a plan reads.
func ways(plan string) []string {
	var found []string
	for _, m := range indexScan.FindAllStringSubmatch(plan, -1) {
		found = append(found, m[1]+m[2])
	}
	for _, m := range tableScan.FindAllStringSubmatch(plan, -1) {
		if strings.Contains(m[0], "(never executed)") {
			continue
		}
		found = append(found, scanned+m[1])
	}
	return found
}
