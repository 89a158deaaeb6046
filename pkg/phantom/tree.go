package phantom

import (
	"container/heap"
	"math"
	"math/rand/v2"
)

// kind of a vessel.
type kind int

const (
	artery kind = iota
	vein
)

// segment is a piece of a vessel between two points, degrees.
type segment struct {
	a, b   point
	ra, rb float64 // half widths at a and b, degrees
	kind   kind
	// vessel is the number of the vessel that it is a piece of, from 1; parent that of the one that this left, or 0. A parent's number is the lower one.
	vessel, parent int
}

// Growth, degrees.
const (
	stepDeg         = .15
	minHalfWidthDeg = .032 // about 19 µm wide: what observers mark at all
	cellDeg         = .2   // of the grid by which vessels of a kind keep apart
	lookAheadDeg    = .4   // distance at which a vessel sees another one of its kind
	giveWayDeg      = .075 // vessels of a larger half width do not end before others
	fovealZoneDeg   = 1.3  // radius of the zone without vessels
	lengthPerWidth  = 230  // a branch ends after this many half widths
)

// course is where a vessel is drawn to.
type course int

const (
	arcade   course = iota // around the macula, on an ellipse about the fovea
	outward                // away from the disc
	macular                // to the fovea
	straight               // where it was sent
)

// shoot is a vessel that is about to grow.
type shoot struct {
	at        point
	heading   float64 // radians, 0 to the nose, π/2 down
	halfWidth float64
	kind      kind
	course    course
	turn      float64 // way round the fovea in an arcade: −1 above, 1 below
	vertical  float64 // half height of the arcade's ellipse at the disc, degrees
	length    float64 // how far it may grow, degrees
	parent    int     // number of the vessel that it leaves
	order     int     // breaks ties
}

// shoots grow widest first, so that wide vessels find room.
type shoots []shoot

func (s shoots) Len() int { return len(s) }
func (s shoots) Less(i, j int) bool {
	if s[i].halfWidth != s[j].halfWidth {
		return s[i].halfWidth > s[j].halfWidth
	}
	return s[i].order < s[j].order
}
func (s shoots) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *shoots) Push(x any)   { *s = append(*s, x.(shoot)) }
func (s *shoots) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// gardener grows the tree of one eye.
type gardener struct {
	random   *rand.Rand
	reach    float64
	queue    shoots
	segments []segment
	taken    [2]map[[2]int]int // by kind: cell → number of the vessel in it
	vessels  int
	made     int
}

// grow returns the vessels of an eye as far as reachDeg from the fovea.
func grow(random *rand.Rand, reachDeg float64) []segment {
	g := &gardener{random: random, reach: reachDeg, taken: [2]map[[2]int]int{{}, {}}}
	for _, k := range []kind{vein, artery} {
		g.plant(k)
	}
	for len(g.queue) > 0 {
		g.growOne(heap.Pop(&g.queue).(shoot))
	}
	return g.segments
}

// plant puts the vessels of one kind onto the disc.
func (g *gardener) plant(k kind) {
	half := .21 // of an arcade at the disc: a vein of 120 µm
	side := -.35
	if k == artery {
		half, side = .17, .35
	}
	for _, turn := range []float64{-1, 1} {
		up := turn * math.Pi / 2 // heading up is −π/2
		// Central vessels leave in the nasal half of the disc, vein and artery side by side.
		root := point{discXDeg + .35 + side*.5 + .15*g.random.NormFloat64(), discYDeg + turn*.15}
		g.shoot(shoot{
			at: root, heading: up - turn*(.05+.12*g.random.NormFloat64()), halfWidth: g.spread(half), kind: k, course: arcade, turn: turn,
			vertical: 8.3 + side*2.2 + .8*g.random.NormFloat64(), length: 60,
		})
		g.shoot(shoot{
			at: root, heading: up - turn*(.75+.3*side+.15*g.random.NormFloat64()), halfWidth: g.spread(half * .72), kind: k, course: outward, turn: turn, length: 40,
		})
		if g.random.Float64() < .6 {
			g.shoot(shoot{
				at: root, heading: up - turn*(.2+.2*side), halfWidth: g.spread(half * .5), kind: k, course: outward, turn: turn, length: 25,
			})
		}
		// A second arcade, nearer to the macula or farther from it.
		g.shoot(shoot{
			at: root, heading: up - turn*(-.4+.12*g.random.NormFloat64()), halfWidth: g.spread(half * .62), kind: k, course: arcade, turn: turn,
			vertical: [2]float64{5.2, 12}[g.random.IntN(2)] + side*2 + .5*g.random.NormFloat64(), length: 60,
		})
		// A fine vessel from the disc's rim straight to the macula.
		g.shoot(shoot{
			at: point{discXDeg - .3, discYDeg + turn*(.2+.3*g.random.Float64()+.2*side)}, heading: math.Pi - turn*.3, halfWidth: g.spread(.055),
			kind: k, course: macular, turn: turn, length: 11,
		})
	}
}

// spread varies a width from eye to eye.
func (g *gardener) spread(half float64) float64 {
	return half * math.Exp(.1*g.random.NormFloat64())
}

func (g *gardener) shoot(s shoot) {
	if s.halfWidth < minHalfWidthDeg {
		return
	}
	s.order = g.made
	g.made++
	heap.Push(&g.queue, s)
}

func cellOf(p point) [2]int {
	return [2]int{int(math.Floor(p.x / cellDeg)), int(math.Floor(p.y / cellDeg))}
}

// blocked tells whether a vessel of the same kind, not number self nor its parent, is near p.
func (g *gardener) blocked(p point, k kind, self, parent int) bool {
	c := cellOf(p)
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			if other, ok := g.taken[k][[2]int{c[0] + dx, c[1] + dy}]; ok && other != self && other != parent {
				return true
			}
		}
	}
	return false
}

func onDisc(p point) bool { return p.distance(point{discXDeg, discYDeg}) < discRadiusDeg*1.15 }

// nearDisc is where vessels of a kind may lie side by side, having come from one root.
func nearDisc(p point) bool { return p.distance(point{discXDeg, discYDeg}) < discRadiusDeg*1.5 }

// growOne grows a vessel to its end and queues its branches.
func (g *gardener) growOne(s shoot) {
	self := g.vessels + 1 // 0 is nobody
	g.vessels++
	wander := 0.0 // curvature, a smooth random walk, radians per degree
	p, heading, half := s.at, s.heading, s.halfWidth
	untilBranch := g.gap(half)
	if s.parent == 0 {
		untilBranch += 2
	}
	sinceParent := 0.0
	sideOfBranch := 1.0
	if g.random.IntN(2) == 0 {
		sideOfBranch = -1
	}
	for grown := 0.0; grown < s.length; grown += stepDeg {
		wander += -.10*wander + .065*g.random.NormFloat64()
		heading += stepDeg * (wander*math.Min(1.6, .35/math.Sqrt(half)) + g.steer(s, p, heading))
		parent := s.parent
		if sinceParent += stepDeg; sinceParent > 1.5 {
			parent = self // no longer excused
		}
		free := func(heading float64) bool {
			ahead := point{p.x + lookAheadDeg*math.Cos(heading), p.y + lookAheadDeg*math.Sin(heading)}
			return nearDisc(ahead) || !g.blocked(ahead, s.kind, self, parent)
		}
		// A fine vessel ends before another one of its kind; a wide one, which nobody sees end, gives way.
		if half > giveWayDeg && !free(heading) {
			for _, turn := range []float64{.3, -.3, .6, -.6} {
				if free(heading + turn) {
					heading += turn / 2
					break
				}
			}
		}
		next := point{p.x + stepDeg*math.Cos(heading), p.y + stepDeg*math.Sin(heading)}
		switch {
		case math.Hypot(next.x, next.y) > g.reach, math.Hypot(next.x, next.y) < fovealZoneDeg:
			return
		case half <= giveWayDeg && !free(heading):
			return
		}
		taper := .0025
		if s.course != arcade && s.course != outward {
			taper = .6 * stepDeg / s.length // a branch loses 45 % on its way
		}
		nextHalf := half * (1 - taper)
		if nextHalf < minHalfWidthDeg {
			return
		}
		g.segments = append(g.segments, segment{p, next, half, nextHalf, s.kind, self, s.parent})
		g.taken[s.kind][cellOf(p)] = self
		p, half = next, nextHalf
		if untilBranch -= stepDeg; untilBranch <= 0 && !onDisc(p) {
			sideOfBranch = -sideOfBranch
			if g.random.Float64() < .25 {
				sideOfBranch = -sideOfBranch
			}
			half, heading = g.branch(s, self, p, heading, half, sideOfBranch)
			untilBranch = g.gap(half)
		}
	}
}

// gap is the length to the next branch.
func (g *gardener) gap(half float64) float64 {
	return .5 + (.7+4*half)*g.random.ExpFloat64()
}

// branch lets a daughter leave and returns half width and heading of the vessel that goes on. Murray's law: r³ = r₁³ + r₂³.
func (g *gardener) branch(s shoot, self int, p point, heading, half, side float64) (goesOn, newHeading float64) {
	// Most daughters are fine; now and then a vessel forks into two of nearly one width.
	share := .28 + .32*g.random.Float64()
	if g.random.Float64() < .22 {
		share = .62 + .2*g.random.Float64()
	}
	daughter := half * share
	goesOn = math.Cbrt(half*half*half - daughter*daughter*daughter)
	// The finer the daughter, the more squarely it leaves.
	angle := (1.25 - .75*share) * (1 + .15*g.random.NormFloat64())
	child := shoot{
		at: p, heading: heading + side*angle, halfWidth: daughter, kind: s.kind, course: straight, turn: s.turn,
		length: lengthPerWidth * daughter * (.6 + .8*g.random.Float64()), parent: self,
	}
	// Inside the arcades branches go to the macula, elsewhere away from the disc.
	toFovea := math.Atan2(-p.y, -p.x)
	switch {
	case math.Cos(child.heading-toFovea) > .3 && s.course != outward && p.x < discXDeg-1:
		child.course = macular
	case s.course == arcade && p.x < 2 && daughter > .6*half:
		child.course = straight
	case s.course == outward:
		child.course = straight
	}
	g.shoot(child)
	return goesOn, heading - side*.12*share
}

// steer returns the curvature by which a vessel keeps to its course, radians per degree.
func (g *gardener) steer(s shoot, p point, heading float64) float64 {
	const gain = .35
	switch s.course {
	case arcade:
		if onDisc(p) {
			return 0
		}
		// Along the ellipse x²/a² + y²/b² = const about the fovea; past the macula straight on.
		a, b := discXDeg, s.vertical
		tangent := math.Atan2(s.turn*p.x/(a*a), -s.turn*p.y/(b*b))
		weight := gain
		if p.x < -3 {
			weight *= math.Max(.12, 1+(p.x+3)/5)
		}
		return weight * angleBetween(heading, tangent)
	case outward:
		away := math.Atan2(p.y-discYDeg, p.x-discXDeg)
		return .08 * angleBetween(heading, away)
	case macular:
		return .22 * angleBetween(heading, math.Atan2(-p.y, -p.x))
	case straight:
		return 0
	}
	return 0
}

// angleBetween returns to − from in (−π, π].
func angleBetween(from, to float64) float64 {
	d := math.Mod(to-from, 2*math.Pi)
	switch {
	case d > math.Pi:
		d -= 2 * math.Pi
	case d <= -math.Pi:
		d += 2 * math.Pi
	}
	return d
}

// prune takes a share of the branches away, and with each what left it. Whoever loses more loses what others lose, too.
func prune(tree []segment, random *rand.Rand, share float64) []segment {
	if share == 0 {
		return tree
	}
	lost := map[int]bool{} // by number of the vessel; the tree has them in the order of their numbers
	kept := make([]segment, 0, len(tree))
	last := 0
	for _, s := range tree {
		if s.vessel != last {
			last = s.vessel
			lost[s.vessel] = random.Float64() < share && s.parent != 0 || lost[s.parent]
		}
		if !lost[s.vessel] {
			kept = append(kept, s)
		}
	}
	return kept
}
