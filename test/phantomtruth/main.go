// Command phantomtruth says how far the measures that the product states are from those of the truth: phantoms, whose vessel tree is
// known because it was drawn, go through the whole chain (field of view, network, measures), and the drawn tree is measured on a canvas of
// the same size. It prints a Markdown table of each whole-field measure.
//
//	go run ./test/phantomtruth -n 40 -seed 1000
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/noctua-screening/noctua/pkg/vessel"
)

func main() {
	n := flag.Int("n", 40, "phantoms")
	seed := flag.Uint64("seed", 1000, "of the first one; the others follow")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *n, *seed); err != nil {
		stop()
		log.Fatal(err) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, n int, seed uint64) (err error) {
	s, err := openScreener(ctx)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, s.close()) }()
	all := map[string][]pair{}
	for i := range n {
		pairs, refused, err := s.compare(ctx, shot(seed+uint64(i)))
		if err != nil {
			return err
		}
		if refused != "" {
			fmt.Fprintf(os.Stderr, "\rphantom %d was not measured: %s\n", seed+uint64(i), refused)
		}
		for name, p := range pairs {
			all[name] = append(all[name], p)
		}
		fmt.Fprintf(os.Stderr, "\r%d of %d phantoms ", i+1, n)
	}
	fmt.Fprintln(os.Stderr)
	fmt.Println("| measure | phantoms | mean drawn (deviation) | mean error | mean absolute error | correlation | largest error (seed) | interval holds |\n|---|---|---|---|---|---|---|---|")
	for _, d := range vessel.Definitions() {
		f := summarise(all[d.Name])
		if f.n == 0 {
			continue // in a unit that phantoms have no scale for
		}
		holds := "–"
		if f.withInterval > 0 {
			holds = fmt.Sprintf("%d of %d", f.within, f.withInterval)
		}
		fmt.Printf("| `%s` | %d | %.4g (%.2g) | %+.2g | %.2g | %.2f | %+.2g (%d) | %s |\n", d.Name, f.n, f.drawn, f.drawnSpread, f.bias, f.meanError, f.correlation,
			f.worst.found-f.worst.drawn, f.worst.seed, holds)
	}
	return nil
}
