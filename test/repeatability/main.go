// Command repeatability says how far measures move between photographs of the same eye. Two photographs of one eye are rare in
// public data, so each picture is photographed again by calculation: turned, moved, cut, brighter, darker, smaller, softer,
// compressed harder. It prints each measure's coefficient of variation, and how many of the pictures taken anew would be called changed
// beside the first by the errors that are stated, a Markdown table.
//
//	go run ./test/repeatability -n 10 ../shared/data/CHASE_DB1/images ../shared/data/HRF/images
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/noctua-screening/noctua/models"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/pkg/vessel"
	"github.com/noctua-screening/noctua/services/segment"
)

func main() {
	n := flag.Int("n", 0, "look at so many pictures of each folder, evenly spread; 0: all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Args(), *n); err != nil {
		stop()
		log.Fatal(err) //nolint:gocritic // stop has run
	}
}

// another is a way to photograph an eye again.
type another struct {
	name string
	take func(*raster.RGB) (*raster.RGB, error)
}

func ways() []another {
	pure := func(f func(*raster.RGB) *raster.RGB) func(*raster.RGB) (*raster.RGB, error) {
		return func(p *raster.RGB) (*raster.RGB, error) { return f(p), nil }
	}
	turned := func(degrees float64) func(*raster.RGB) (*raster.RGB, error) {
		return pure(func(p *raster.RGB) *raster.RGB { return placed(p, degrees, 0, 0) })
	}
	light := func(gain float64) func(*raster.RGB) (*raster.RGB, error) {
		return pure(func(p *raster.RGB) *raster.RGB { return lit(p, gain) })
	}
	return []another{
		{"as it is", pure(func(p *raster.RGB) *raster.RGB { return p })},
		{"turned by 4°", turned(4)},
		{"turned by -4°", turned(-4)},
		{"a third of a pixel aside", pure(func(p *raster.RGB) *raster.RGB { return placed(p, 0, 1./3, 1./3) })},
		{"cut at the left by 5 %", pure(func(p *raster.RGB) *raster.RGB { return placed(p, 0, math.Round(-.05*float64(p.Width)), 0) })},
		{"cut at the top by 5 %", pure(func(p *raster.RGB) *raster.RGB { return placed(p, 0, 0, math.Round(-.05*float64(p.Height))) })},
		{"darker by 15 %", light(.85)},
		{"brighter by 15 %", light(1.15)},
		{"at 80 % of its size", pure(shrunk)},
		{"JPEG quality 50", func(p *raster.RGB) (*raster.RGB, error) {
			data, err := pixel.EncodeJPEG(p, 50)
			if err != nil {
				return nil, err
			}
			return pixel.DecodeJPEG(data, pixel.Limits{})
		}},
	}
}

func run(ctx context.Context, folders []string, n int) (err error) {
	var files []string
	for _, folder := range folders {
		found, err := segment.PictureFiles([]string{folder})
		if err != nil {
			return err
		}
		for i := range found {
			if n <= 0 || i*n/len(found) != (i-1)*n/len(found) || i == 0 {
				files = append(files, found[i])
			}
		}
	}
	if len(files) == 0 {
		return fmt.Errorf("no pictures: name folders of them")
	}
	shipped, err := models.Files()
	if err != nil {
		return err
	}
	engine, err := segment.OpenEngine(ctx, segment.EngineConfig{Model: shipped})
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, engine.Close()) }()
	analyser, err := segment.NewConfiguredAnalyser(engine, time.Now, "repeatability", segment.AnalyserConfig{Unsteady: true})
	if err != nil {
		return err
	}
	cv := map[string][]float64{}                            // by measure: of each picture
	largest := map[string][]string{}                        // by measure: the way that moves it most, of each picture
	changed, compared := map[string]int{}, map[string]int{} // by measure: pictures taken anew
	started := time.Now()
	for i, file := range files {
		picture, subject, err := segment.ReadFile(file)
		if err != nil {
			return err
		}
		subject.Laterality = cmp.Or(subject.Laterality, record.RightEye) // which side the nose is on does not matter here
		values, halves := map[string][]float64{}, map[string][]float64{}
		for _, way := range ways() {
			taken, err := way.take(picture)
			if err != nil {
				return err
			}
			analysis, err := analyser.Analyse(ctx, taken, subject)
			if err != nil {
				return err
			}
			for _, m := range analysis.Result.Measures {
				if m.Value != nil {
					values[m.Name] = append(values[m.Name], *m.Value)
					if m.Error != nil {
						halves[m.Name] = append(halves[m.Name], *m.Error)
					}
				}
			}
			for _, r := range analysis.Result.Regions {
				for _, m := range r.Measures {
					if m.Value != nil {
						values[m.Name+" "+r.Name] = append(values[m.Name+" "+r.Name], *m.Value)
					}
				}
			}
		}
		for name, v := range values {
			mean, deviation := spread(v)
			if len(v) < len(ways()) || mean == 0 {
				continue // not measured in one of them, or a count of nothing
			}
			cv[name] = append(cv[name], deviation/mean)
			far := 0
			for j := range v {
				if math.Abs(v[j]-v[0]) > math.Abs(v[far]-v[0]) {
					far = j
				}
			}
			largest[name] = append(largest[name], ways()[far].name)
			if half := halves[name]; len(half) == len(v) {
				for j := 1; j < len(v); j++ {
					compared[name]++
					if math.Abs(v[j]-v[0]) > math.Hypot(half[j], half[0]) {
						changed[name]++
					}
				}
			}
		}
		left := time.Since(started) / time.Duration(i+1) * time.Duration(len(files)-i-1)
		fmt.Fprintf(os.Stderr, "\r%d of %d pictures, %s left ", i+1, len(files), left.Round(time.Second))
	}
	fmt.Fprintln(os.Stderr)
	fmt.Println("| measure | pictures | mean CV | largest CV | moves most when | called a change |\n|---|---|---|---|---|---|")
	for _, d := range vessel.Definitions() {
		v := cv[d.Name]
		if len(v) == 0 {
			fmt.Printf("| `%s` | 0 | | | | |\n", d.Name)
			continue
		}
		mean, _ := spread(v)
		calls := "–"
		if compared[d.Name] > 0 {
			calls = fmt.Sprintf("%d of %d", changed[d.Name], compared[d.Name])
		}
		fmt.Printf("| `%s` | %d | %.1f %% | %.1f %% | %s | %s |\n", d.Name, len(v), 100*mean, 100*slices.Max(v), commonest(largest[d.Name]), calls)
	}
	printRegions(cv)
	return nil
}

// printRegions prints the mean coefficient of variation of every regional measure in every region, and how many pictures it is of.
func printRegions(cv map[string][]float64) {
	fmt.Print("\n| region | pictures")
	rule := "|---|---"
	for _, d := range vessel.Definitions() {
		if d.Regional {
			fmt.Printf(" | `%s`", d.Name)
			rule += "|---"
		}
	}
	fmt.Println(" |\n" + rule + "|")
	for _, r := range vessel.Regions() {
		fmt.Printf("| `%s` | %d", r.Name, len(cv[vessel.AreaDensity+" "+r.Name]))
		for _, d := range vessel.Definitions() {
			if !d.Regional {
				continue
			}
			if v := cv[d.Name+" "+r.Name]; len(v) > 0 {
				mean, _ := spread(v)
				fmt.Printf(" | %.1f %%", 100*mean)
			} else {
				fmt.Print(" | ")
			}
		}
		fmt.Println(" |")
	}
}

// spread returns mean and sample standard deviation.
func spread(v []float64) (mean, deviation float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		deviation += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(deviation / float64(max(1, len(v)-1)))
}

func commonest(names []string) string {
	count := map[string]int{}
	for _, name := range names {
		count[name]++
	}
	return slices.MaxFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(a, b)) })
}

// placed turns a picture about its middle and moves it by pixels; what comes from outside is black.
func placed(p *raster.RGB, degrees, dx, dy float64) *raster.RGB {
	out := raster.NewRGB(p.Width, p.Height)
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	mx, my := float64(p.Width)/2, float64(p.Height)/2
	for y := range p.Height {
		for x := range p.Width {
			u, v := float64(x)+.5-mx-dx, float64(y)+.5-my-dy
			sample(p, u*cos+v*sin+mx-.5, -u*sin+v*cos+my-.5, out.Pix[3*(y*p.Width+x):])
		}
	}
	return out
}

// sample interpolates between the four pixels about a place.
func sample(p *raster.RGB, x, y float64, into []uint8) {
	x0, y0 := int(math.Floor(x)), int(math.Floor(y))
	fx, fy := x-float64(x0), y-float64(y0)
	for c := range 3 {
		at := func(x, y int) float64 {
			if x < 0 || y < 0 || x >= p.Width || y >= p.Height {
				return 0
			}
			return float64(p.Pix[3*(y*p.Width+x)+c])
		}
		v := (1-fy)*((1-fx)*at(x0, y0)+fx*at(x0+1, y0)) + fy*((1-fx)*at(x0, y0+1)+fx*at(x0+1, y0+1))
		into[c] = uint8(math.Round(v))
	}
}

func lit(p *raster.RGB, gain float64) *raster.RGB {
	out := raster.NewRGB(p.Width, p.Height)
	for i, v := range p.Pix {
		out.Pix[i] = uint8(min(255, math.Round(gain*float64(v))))
	}
	return out
}

// shrunk brings a picture to four fifths of its size, each pixel the mean of 4 × 4 places in it.
func shrunk(p *raster.RGB) *raster.RGB {
	const factor, places = 1.25, 4
	out := raster.NewRGB(int(float64(p.Width)/factor), int(float64(p.Height)/factor))
	var one [3]uint8
	for y := range out.Height {
		for x := range out.Width {
			var sum [3]int
			for i := range places {
				for j := range places {
					sample(p, (float64(x)+(float64(i)+.5)/places)*factor-.5, (float64(y)+(float64(j)+.5)/places)*factor-.5, one[:])
					for c := range sum {
						sum[c] += int(one[c])
					}
				}
			}
			for c := range sum {
				out.Pix[3*(y*out.Width+x)+c] = uint8(sum[c] / (places * places))
			}
		}
	}
	return out
}
