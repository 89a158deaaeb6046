package phantom

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
)

var update = flag.Bool("update", false, "write the golden files anew")

func drawn(t testing.TB, o Options) *Photograph {
	t.Helper()
	p, err := Draw(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// small are options that draw fast.
func small(seed uint64, eye Eye, fovDeg float64, defect Defect) Options {
	return Options{Seed: seed, Width: 500, Height: 480, Eye: eye, FOVDeg: fovDeg, Defect: defect}
}

// golden holds the mean colours of 10 × 10 blocks and the number of pixels of the truth.
type golden struct {
	Options  Options
	Vessels  int
	Arteries int
	Means    []float64
}

func summary(o Options, p *Photograph) golden {
	const blocks = 10
	g := golden{Options: o, Vessels: p.Vessels.Count(), Arteries: p.Arteries.Count(), Means: make([]float64, blocks*blocks*3)}
	counts := make([]float64, blocks*blocks)
	for y := range p.Picture.Height {
		for x := range p.Picture.Width {
			b := y*blocks/p.Picture.Height*blocks + x*blocks/p.Picture.Width
			red, green, blue := p.Picture.At(x, y)
			counts[b]++
			for k, v := range [3]uint8{red, green, blue} {
				g.Means[3*b+k] += float64(v)
			}
		}
	}
	for i := range g.Means {
		g.Means[i] = math.Round(100*g.Means[i]/counts[i/3]) / 100
	}
	return g
}

// TestGolden: means over blocks of 2,400 pixels may differ by half a grey level and counts by 1 ‰, which is what
// other rounding (fused multiply-add on other processors) can do; another tree differs by far more.
func TestGolden(t *testing.T) {
	t.Parallel()
	options := []Options{small(1, Right, 45, NoDefect), small(2, Left, 30, NoDefect), small(1, Right, 45, Blurred), small(1, Right, 45, Dark)}
	var got []golden
	for _, o := range options {
		got = append(got, summary(o, drawn(t, o)))
	}
	const path = "testdata/golden.json"
	if *update {
		data, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []golden
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		g := got[i]
		if g.Options != w.Options {
			t.Fatalf("options %+v, want %+v", g.Options, w.Options)
		}
		if math.Abs(float64(g.Vessels-w.Vessels)) > .001*float64(w.Vessels) || math.Abs(float64(g.Arteries-w.Arteries)) > .001*float64(w.Arteries) {
			t.Errorf("%+v: %d vessel pixels, %d of arteries; want %d, %d", g.Options, g.Vessels, g.Arteries, w.Vessels, w.Arteries)
		}
		for k := range w.Means {
			if math.Abs(g.Means[k]-w.Means[k]) > .5 {
				t.Fatalf("%+v: block %d, channel %d has mean %v, want %v", g.Options, k/3, k%3, g.Means[k], w.Means[k])
			}
		}
	}
}

func TestSameOptionsSamePicture(t *testing.T) {
	t.Parallel()
	o := small(7, Right, 45, NoDefect)
	a, b, other := drawn(t, o), drawn(t, o), drawn(t, small(8, Right, 45, NoDefect))
	if !slices.Equal(a.Picture.Pix, b.Picture.Pix) || !slices.Equal(a.Vessels.Pix, b.Vessels.Pix) {
		t.Error("the same options gave two pictures")
	}
	if slices.Equal(a.Vessels.Pix, other.Vessels.Pix) {
		t.Error("two seeds gave the same tree")
	}
	dark := drawn(t, small(7, Right, 45, Dark))
	if !slices.Equal(a.Vessels.Pix, dark.Vessels.Pix) {
		t.Error("a dark photograph of an eye shows another eye")
	}
}

// TestVesselsAreWhereTheTruthSays compares the green light on vessels with that beside them, block by block.
func TestVesselsAreWhereTheTruthSays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		o := Options{Seed: seed, Width: 900, Height: 860, FOVDeg: []float64{30, 45, 45}[seed], Eye: []Eye{Right, Left, Right}[seed]}
		p := drawn(t, o)
		const block = 60
		darker, blocks := 0, 0
		for by := 0; by+block <= o.Height; by += block {
			for bx := 0; bx+block <= o.Width; bx += block {
				var on, off, nOn, nOff float64
				for y := by; y < by+block; y++ {
					for x := bx; x < bx+block; x++ {
						_, green, _ := p.Picture.At(x, y)
						switch i := y*o.Width + x; {
						case p.FOV.Pix[i] == 0 || math.Hypot(float64(x)-p.DiscX, float64(y)-p.DiscY) < 1.5*p.DiscRadiusPx:
						case p.Vessels.Pix[i] != 0:
							on, nOn = on+float64(green), nOn+1
						default:
							off, nOff = off+float64(green), nOff+1
						}
					}
				}
				if nOn < 40 || nOff < 40 {
					continue
				}
				blocks++
				if on/nOn < .96*off/nOff {
					darker++
				}
			}
		}
		if blocks < 30 || float64(darker) < .95*float64(blocks) {
			t.Errorf("seed %d: vessels are darker than their surroundings in %d of %d blocks, want 95 %%", seed, darker, blocks)
		}
	}
}

func TestAnatomy(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		for _, eye := range []Eye{Right, Left} {
			p := drawn(t, small(seed, eye, 45, NoDefect))
			if onRight := p.DiscX > p.FoveaX; onRight != (eye == Right) {
				t.Errorf("eye %s: disc at %.0f, fovea at %.0f; the disc lies on the nose's side", eye, p.DiscX, p.FoveaX)
			}
			if r := math.Hypot(p.DiscX-p.CenterX, p.DiscY-p.CenterY) + p.DiscRadiusPx; r > p.Radius {
				t.Errorf("the disc is cut by the field of view: %.0f of %.0f px", r, p.Radius)
			}
			density := float64(p.Vessels.Count()) / float64(p.FOV.Count())
			if density < .03 || density > .16 {
				t.Errorf("seed %d, eye %s: vessels take %.3f of the field of view, want .03 to .16", seed, eye, density)
			}
			if a, v := p.Arteries.Count(), p.Veins.Count(); a < v/3 || v < a/2 {
				t.Errorf("%d pixels of arteries, %d of veins", a, v)
			}
			for i, on := range p.Vessels.Pix {
				if on != 0 && p.FOV.Pix[i] == 0 {
					t.Fatal("a vessel lies outside the field of view")
				}
				if (on != 0) != (p.Arteries.Pix[i] != 0 || p.Veins.Pix[i] != 0) {
					t.Fatal("the vessels are not the arteries and veins together")
				}
			}
			if want := math.Pi * p.Radius * p.Radius; math.Abs(float64(p.FOV.Count())-want) > .01*want {
				t.Errorf("the field of view has %d pixels, want a disc of %.0f", p.FOV.Count(), want)
			}
			if n := surroundLight(p); n > 8 {
				t.Errorf("the surround has a mean light of %.1f", n)
			}
			// No vessels where the fovea is.
			for y := int(p.FoveaY - p.PxPerDegree/2); y < int(p.FoveaY+p.PxPerDegree/2); y++ {
				for x := int(p.FoveaX - p.PxPerDegree/2); x < int(p.FoveaX+p.PxPerDegree/2); x++ {
					if p.Vessels.On(x, y) {
						t.Fatal("a vessel crosses the fovea")
					}
				}
			}
		}
	}
}

func surroundLight(p *Photograph) float64 {
	sum, n := 0.0, 0.0
	for i, on := range p.FOV.Pix {
		if on == raster.Background && math.Hypot(float64(i%p.Picture.Width)-p.CenterX, float64(i/p.Picture.Width)-p.CenterY) > p.Radius+3 {
			sum += float64(p.Picture.Pix[3*i]) + float64(p.Picture.Pix[3*i+1]) + float64(p.Picture.Pix[3*i+2])
			n += 3
		}
	}
	return sum / n
}

// contrast is the mean step of green between neighbours two pixels apart, inside the field of view, after the light.
func contrast(p *Photograph) float64 {
	sum, n := 0.0, 0.0
	for y := 0; y < p.Picture.Height; y++ {
		for x := 4; x < p.Picture.Width-4; x++ {
			if p.Vessels.On(x, y) && p.FOV.On(x-4, y) && p.FOV.On(x+4, y) {
				_, l, _ := p.Picture.At(x-4, y)
				_, m, _ := p.Picture.At(x, y)
				_, r, _ := p.Picture.At(x+4, y)
				sum += math.Abs(float64(l)+float64(r)-2*float64(m)) / 2
				n++
			}
		}
	}
	return sum / n
}

func TestDefectsTakeTheVesselsAway(t *testing.T) {
	t.Parallel()
	clear := contrast(drawn(t, small(5, Right, 45, NoDefect)))
	for _, d := range []Defect{Dark, Blurred} {
		if got := contrast(drawn(t, small(5, Right, 45, d))); got > .45*clear {
			t.Errorf("%s: contrast at vessels %.2f, clear %.2f", d, got, clear)
		}
	}
}

func TestOptionsOutOfRangeAreRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{Width: 10, Height: 500}, {Width: 500}, {Width: 9000, Height: 9000}, {FOVDeg: 200}, {FOVDeg: math.NaN()}, {Eye: "B"}, {Defect: "on fire"}, {Width: -1, Height: -1},
	} {
		if _, err := Draw(o); !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != "phantom-options" {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestNight(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 23, 17, 0, 0, 0, time.FixedZone("", 3600))
	for _, patients := range []int{1, 2, 5, 12, 500} {
		shots, err := Night(9, patients, 3, day)
		if err != nil {
			t.Fatal(err)
		}
		counts, files, ids, part := map[Mishap]int{}, map[string]bool{}, map[string]bool{}, Earlier
		for _, s := range shots {
			counts[s.Mishap]++
			if files[s.File] {
				t.Errorf("two files are named %s", s.File)
			}
			files[s.File], ids[s.Person.ID] = true, true
			if !strings.HasPrefix(s.Person.ID, "PHANTOM-") || !strings.Contains(s.Person.Name, "^") || s.Options.Eye != s.Eye || s.Options.Validate() != nil || s.Clinic < 0 || s.Clinic > 2 {
				t.Errorf("shot %+v", s)
			}
			y, m, d := s.AcquiredAt.Date()
			if today := y == 2026 && m == 11 && d == 23; today == (s.Part == Earlier) || s.Person.BirthDate.After(s.AcquiredAt) || s.AcquiredAt.After(day.Add(time.Hour)) {
				t.Errorf("a shot of part %d was acquired at %v; born %v", s.Part, s.AcquiredAt, s.Person.BirthDate)
			}
			if s.Part < part {
				t.Errorf("a shot of part %d comes after one of part %d", s.Part, part)
			}
			part = s.Part
			if (s.Options.Defect != NoDefect) != (s.Mishap == Ungradable) {
				t.Errorf("defect %q of a shot with mishap %q", s.Options.Defect, s.Mishap)
			}
		}
		for _, once := range []Mishap{LateralityMissing, IDMissing, Truncated, NotFundus, NotDICOM, SentTwice} {
			if counts[once] != 1 {
				t.Errorf("%d patients: %d shots with mishap %s", patients, counts[once], once)
			}
		}
		if len(ids) != patients || patients > 2 && counts[Ungradable] == 0 {
			t.Errorf("%d patients: %d IDs, mishaps %v", patients, len(ids), counts)
		}
		// The file that is sent twice says the same as its twin.
		last := shots[len(shots)-1]
		i := slices.IndexFunc(shots, func(s Shot) bool { return s.Options == last.Options })
		twin := shots[i]
		twin.File, twin.Part, twin.Mishap = last.File, last.Part, last.Mishap
		if twin != last {
			t.Errorf("%+v is not %+v again", last, shots[i])
		}
		again, err := Night(9, patients, 3, day)
		if err != nil || !slices.Equal(again, shots) {
			t.Errorf("the same night differs (%v)", err)
		}
	}
	for _, n := range []int{0, -1, maxPatients + 1} {
		if _, err := Night(1, n, 1, day); !fault.Is(err, fault.Invalid) {
			t.Errorf("a night of %d patients: %v", n, err)
		}
	}
	if _, err := Night(1, 1, 0, day); !fault.Is(err, fault.Invalid) {
		t.Errorf("a night without a clinic: %v", err)
	}
}

// TestVisits: the same eye again has the same vessels in another light, and what it loses stays lost.
func TestVisits(t *testing.T) {
	t.Parallel()
	first, second := drawn(t, Options{Seed: 7, Take: 1}), drawn(t, Options{Seed: 7, Take: 2})
	if !slices.Equal(first.Vessels.Pix, second.Vessels.Pix) {
		t.Error("the vessels of the same eye differ between photographs")
	}
	if slices.Equal(first.Picture.Pix, second.Picture.Pix) {
		t.Error("two photographs of an eye are the same")
	}
	before := first
	for _, lost := range []float64{.1, .4, .75} {
		now := drawn(t, Options{Seed: 7, Take: 3, Lost: lost})
		if a, b := before.Vessels.Count(), now.Vessels.Count(); b >= a {
			t.Errorf("having lost %v the eye has %d pixels of vessels, before %d", lost, b, a)
		}
		for i, on := range now.Vessels.Pix {
			if on != 0 && before.Vessels.Pix[i] == 0 {
				t.Fatalf("having lost %v the eye has a vessel that it did not have", lost)
			}
		}
		before = now
	}
	if kept := float64(before.Vessels.Count()) / float64(first.Vessels.Count()); kept < .2 || kept > .85 {
		t.Errorf("%.2f of the vessels are left", kept)
	}
}

func BenchmarkDraw(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		drawn(b, Options{Seed: 1})
	}
}

func ExampleDraw() {
	p, err := Draw(Options{Seed: 3, Width: 400, Height: 400, Eye: Left})
	if err != nil {
		panic(err)
	}
	// In a left eye the optic disc lies left of the fovea.
	fmt.Println(p.DiscX < p.FoveaX)
	// Output: true
}
