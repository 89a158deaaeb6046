// Command reportload fills an empty report index on PostgreSQL with made-up reports, and measures its searches.
//
//	go run ./test/reportload -database postgres://… -n 1000000          # migrate and fill
//	go run ./test/reportload -database postgres://… -measure            # median, 95 % and plan of each search, a Markdown table
//
// Each report has a preliminary version and a final one, and two images with a result each; 0.4 patients a report, of 12 clinics from 30 % of all to
// 0.02 %, over five years. Documents are of real shape (the example of the schema, with two measures for each of two eyes) and about 3.5 kB: real ones
// are 10 to 20 kB, which would be 15 GB for a million. They lie apart from the rows that are searched, so that their size matters for the page that is
// read, and not for finding it. The password comes from PGPASSWORD or ~/.pgpass.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
)

func main() {
	address := flag.String("database", "", "address of the database, postgres://…")
	n := flag.Int("n", 1_000_000, "reports")
	seed := flag.Uint64("seed", 1, "of the random choices")
	only := flag.Bool("measure", false, "measure the searches of an index that is filled")
	rounds := flag.Int("rounds", 100, "how often each search is asked, each time for something else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error {
		if *only {
			return measure(ctx, *address, *seed, *rounds, os.Stdout)
		}
		return fill(ctx, *address, site{Reports: *n, Seed: *seed}, func(done int, text string) { fmt.Fprintf(os.Stderr, "\r%9d %s", done, text) })
	}
	if err := run(); err != nil {
		stop()
		log.Fatal(err) //nolint:gocritic // stop has run
	}
}
