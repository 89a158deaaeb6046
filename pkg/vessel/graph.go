package vessel

import (
	"cmp"
	"math"
	"slices"

	"github.com/noctua-screening/noctua/pkg/raster"
)

const (
	// spurRadii is how far a branch must reach, in radii of the vessel it leaves and counted from that vessel's centre line, to
	// be a vessel: thinning draws shorter ones to every bump of a mask's edge, and to the corners of a blunt end (√2 radii).
	spurRadii = 1.5
	// mergeRadii is how close, in radii of the wider one, two branchings are one: where two vessels cross, thinning makes two
	// branchings with a short bridge.
	mergeRadii = 2
	// slackPx is added to both, for what the pixel grid does to thin vessels.
	slackPx = 2
	// speckPx is how long a part that hangs on nothing must be to be a piece of vessel: networks leave specks of a few pixels.
	speckPx = 10
	// edgeSlackPx is how close to the field's edge, beside its own radius, a vessel's end is one that the field cuts off: the light
	// falls off there, and masks stop up to 1 % of the field's diameter short.
	edgeSlackPx = 8
	// endRadii is how much of a line before a free end is drawn anew, in radii of the vessel.
	endRadii = 3
	// endPoints is over how many points, twice, a vessel's direction before a free end is taken; fewer than minEndPoints give none.
	endPoints    = 8
	minEndPoints = 4
)

// Point is a place on the pixel grid: the centre of the first pixel is (.5, .5).
type Point struct{ X, Y float64 }

func (p Point) minus(q Point) Point           { return Point{p.X - q.X, p.Y - q.Y} }
func (p Point) plus(q Point, k float64) Point { return Point{p.X + k*q.X, p.Y + k*q.Y} }
func (p Point) length() float64               { return math.Hypot(p.X, p.Y) }

// Node is where segments end.
type Node struct {
	At Point
	// RadiusPx is the distance from the centre line to the nearest background: half of the vessel's local width.
	RadiusPx float64
	// Segments that end here, by index; one that starts and ends here is listed twice. One is an end point, three and more
	// are a branch point.
	Segments []int
	// AtEdge tells of an end point that the vessel does not end there: the field of view cuts it off.
	AtEdge bool
}

// Segment is a vessel between two nodes.
type Segment struct {
	// From and To are the nodes; both -1 for a closed ring without any.
	From, To int
	// Points are the ordered points of the centre line, the nodes' pixels at both ends, smoothed (see smooth).
	Points []Point
	// LengthPx is the length of the line through Points.
	LengthPx float64
	// WidthsPx are the local widths at Points; NaN where they cannot be told apart from the neighbours': in the branchings.
	WidthsPx []float64
	// Turning is the sum of the absolute changes of direction along the line, radians: its integrated curvature.
	Turning float64
}

// WidthPx is the mean local width of a segment; NaN where there is none.
func (s *Segment) WidthPx() float64 {
	sum, n := 0.0, 0
	for _, w := range s.WidthsPx {
		if !math.IsNaN(w) {
			sum += w
			n++
		}
	}
	return sum / float64(n)
}

// IsLong tells of a segment that is long enough to have a tortuosity, and no ring.
func (s *Segment) IsLong(g Geometry) bool {
	return s.From != s.To && s.LengthPx >= segmentPartOfField*g.FOVDiameterPx
}

// ChordPx is the distance between a segment's ends.
func (s *Segment) ChordPx() float64 {
	return s.Points[len(s.Points)-1].minus(s.Points[0]).length()
}

// Graph is a vessel tree as nodes and segments.
type Graph struct {
	Nodes    []Node
	Segments []Segment
}

// IsBranch tells of a place where three or more segments meet. Two vessels that cross are one.
func (n *Node) IsBranch() bool { return len(n.Segments) >= 3 }

// IsEnd tells of the free end of a vessel; one that the field of view cuts off is none.
func (n *Node) IsEnd() bool { return len(n.Segments) == 1 && !n.AtEdge }

// Directions at a branch point are taken between two distances from it, in its radii: beyond where centre lines are drawn towards
// each other, and before the vessels bend.
const angleFromRadii, angleToRadii = 2, 5

// BranchingAngle returns, radians, the smallest angle between two segments at a node, and the two directions it lies between;
// ok where exactly three meet there.
func (g *Graph) BranchingAngle(n int) (radians float64, between [2]Point, ok bool) {
	node := &g.Nodes[n]
	if len(node.Segments) != 3 {
		return 0, between, false
	}
	var directions []Point
	for i, s := range node.Segments {
		points := g.Segments[s].Points
		// A ring that starts and ends here is listed twice: once for each of its ends.
		if atEnd := g.Segments[s].From != n || slices.Contains(node.Segments[:i], s); atEnd {
			points = slices.Clone(points)
			slices.Reverse(points)
		}
		near := firstBeyond(points[:len(points)-1], node.At, angleFromRadii*node.RadiusPx)
		far := near + 1 + firstBeyond(points[near+1:], node.At, angleToRadii*node.RadiusPx)
		directions = append(directions, points[far].minus(points[near]))
	}
	smallest := 0.0
	for i, a := range directions {
		b := directions[(i+1)%3]
		if angle := math.Abs(math.Atan2(a.X*b.Y-a.Y*b.X, a.X*b.X+a.Y*b.Y)); i == 0 || angle < smallest {
			smallest, between = angle, [2]Point{a, b}
		}
	}
	return smallest, between, true
}

// firstBeyond is the index of the first point that is so far from a place; of the last one if none is. There must be a point.
func firstBeyond(points []Point, from Point, distance float64) int {
	for i, p := range points {
		if p.minus(from).length() >= distance {
			return i
		}
	}
	return len(points) - 1
}

// NewGraph traces the vessels of a mask inside a field of view, which must lie on the same grid. skeleton is the mask's
// Skeleton. Branch points are clusters of pixels of the skeleton with three or more neighbours (they are not counted one by
// one); side branches that do not leave their vessel, and the bridge between two vessels that cross, belong to thinning and
// not to the eye, and are removed. So are parts shorter than 10 pixels that hang on nothing.
func NewGraph(mask, fov, skeleton *raster.Mask) *Graph {
	t := newTracing(mask, skeleton)
	t.trace()
	t.prune()
	t.merge()
	t.dropSpecks()
	return t.graph(fov)
}

// tracing is the graph while it is made: nodes and edges with pixels, some of them dead.
type tracing struct {
	mask, skeleton *raster.Mask
	widths         widthMeter
	node           []int32 // by pixel: its node + 1; 0 for none
	nodes          []tracedNode
	edges          []tracedEdge
}

type tracedNode struct {
	pixels []int32
	radius float64
	edges  []int // alive ones; an edge of which both ends are here is listed twice
}

type tracedEdge struct {
	from, to int // nodes; -1 both for a ring
	pixels   []int32
	dead     bool
}

func newTracing(mask, skeleton *raster.Mask) *tracing {
	return &tracing{mask: mask, skeleton: skeleton, widths: widthMeter{mask}, node: make([]int32, len(skeleton.Pix))}
}

// around appends the neighbours of a pixel in the skeleton.
func (t *tracing) around(p int32, into []int32) []int32 {
	w, h := t.skeleton.Width, t.skeleton.Height
	x, y := int(p)%w, int(p)/w
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			if nx, ny := x+dx, y+dy; (dx != 0 || dy != 0) && nx >= 0 && ny >= 0 && nx < w && ny < h && t.skeleton.Pix[ny*w+nx] != 0 {
				into = append(into, int32(ny*w+nx))
			}
		}
	}
	return into
}

// trace makes a node of each cluster of branching pixels and of each end, and an edge of each way between them.
func (t *tracing) trace() {
	var buffer [8]int32
	var branching, ends []int32
	for i, v := range t.skeleton.Pix {
		if v == 0 {
			continue
		}
		switch n := len(t.around(int32(i), buffer[:0])); {
		case n >= 3:
			branching = append(branching, int32(i))
		case n == 1:
			ends = append(ends, int32(i))
		}
	}
	isBranching := make(map[int32]bool, len(branching))
	for _, p := range branching {
		isBranching[p] = true
	}
	for _, p := range branching {
		if t.node[p] != 0 {
			continue
		}
		t.addNode(p)
		cluster := &t.nodes[len(t.nodes)-1]
		for i := 0; i < len(cluster.pixels); i++ {
			for _, q := range t.around(cluster.pixels[i], buffer[:0]) {
				if isBranching[q] && t.node[q] == 0 {
					t.node[q] = int32(len(t.nodes))
					cluster.pixels = append(cluster.pixels, q)
				}
			}
		}
	}
	for _, p := range ends {
		t.addNode(p)
	}
	for i := range t.nodes {
		for _, p := range t.nodes[i].pixels {
			t.nodes[i].radius = max(t.nodes[i].radius, clearance(t.mask, centre(p, t.mask.Width)))
		}
	}

	visited := make([]bool, len(t.skeleton.Pix))
	for i := range t.nodes {
		for _, p := range t.nodes[i].pixels {
			for _, q := range t.around(p, buffer[:0]) {
				switch other := int(t.node[q]) - 1; {
				case other > i: // two ends side by side, or an end beside a branching
					t.addEdge(i, other, []int32{p, q})
				case other < 0 && !visited[q]:
					t.walk(i, p, q, visited)
				}
			}
		}
	}
	for i, v := range t.skeleton.Pix {
		if v != 0 && !visited[i] && t.node[i] == 0 {
			t.ring(int32(i), visited)
		}
	}
}

func (t *tracing) addNode(p int32) {
	t.nodes = append(t.nodes, tracedNode{pixels: []int32{p}})
	t.node[p] = int32(len(t.nodes))
}

func (t *tracing) addEdge(from, to int, pixels []int32) {
	t.edges = append(t.edges, tracedEdge{from: from, to: to, pixels: pixels})
	e := len(t.edges) - 1
	t.nodes[from].edges = append(t.nodes[from].edges, e)
	t.nodes[to].edges = append(t.nodes[to].edges, e)
}

// walk follows the line that leaves node at pixel p by q to the next node.
func (t *tracing) walk(node int, p, q int32, visited []bool) {
	pixels := []int32{p}
	var buffer [8]int32
	for before := p; ; {
		visited[q] = true
		pixels = append(pixels, q)
		next := int32(-1)
		for _, r := range t.around(q, buffer[:0]) {
			if r != before {
				next = r
			}
		}
		if next < 0 { // a lone pixel beside a node cannot be: it would be an end, and a node
			return
		}
		if t.node[next] != 0 {
			t.addEdge(node, int(t.node[next])-1, append(pixels, next))
			return
		}
		before, q = q, next
	}
}

// ring follows a closed line without nodes. Lone pixels are none.
func (t *tracing) ring(start int32, visited []bool) {
	var buffer [8]int32
	pixels := []int32{start}
	visited[start] = true
	for p := start; ; {
		next := int32(-1)
		for _, q := range t.around(p, buffer[:0]) {
			if !visited[q] {
				next = q
				break
			}
		}
		if next < 0 {
			break
		}
		visited[next] = true
		pixels = append(pixels, next)
		p = next
	}
	if len(pixels) > 2 {
		t.edges = append(t.edges, tracedEdge{from: -1, to: -1, pixels: append(pixels, start)})
	}
}

// length is that of the chain of pixels: 1 for a straight step and √2 for a diagonal one.
func (t *tracing) length(e int) float64 {
	w := int32(t.skeleton.Width)
	sum := 0.0
	pixels := t.edges[e].pixels
	for i := 1; i < len(pixels); i++ {
		a, b := pixels[i-1], pixels[i]
		sum += math.Hypot(float64(a%w-b%w), float64(a/w-b/w))
	}
	return sum
}

// prune removes branches that do not leave the vessel they hang on. All of a branching go at once, so that a blunt end, which
// thinning forks towards both of its corners, ends in the middle; where nothing else would be left, the longest stays.
func (t *tracing) prune() {
	for n := 0; n < len(t.nodes); n++ {
		node := &t.nodes[n]
		if len(node.edges) < 3 {
			continue
		}
		type spur struct {
			edge, tip int
			length    float64
		}
		var spurs []spur
		for _, e := range node.edges {
			tip := t.edges[e].from + t.edges[e].to - n
			if length := t.length(e); tip != n && len(t.nodes[tip].edges) == 1 && length <= spurRadii*node.radius+slackPx {
				spurs = append(spurs, spur{e, tip, length})
			}
		}
		slices.SortFunc(spurs, func(a, b spur) int { return cmp.Or(cmp.Compare(a.length, b.length), cmp.Compare(a.edge, b.edge)) })
		if len(spurs) == len(node.edges) {
			spurs = spurs[:max(0, len(spurs)-2)]
		}
		for _, s := range spurs {
			t.remove(s.edge)
		}
		t.join(n)
	}
}

func (t *tracing) remove(e int) {
	edge := &t.edges[e]
	edge.dead = true
	for _, n := range []int{edge.from, edge.to} {
		t.nodes[n].edges = slices.DeleteFunc(t.nodes[n].edges, func(x int) bool { return x == e })
	}
}

// join makes one edge of the two of a node at which nothing branches any more.
func (t *tracing) join(n int) {
	node := &t.nodes[n]
	if len(node.edges) != 2 {
		return
	}
	first, second := node.edges[0], node.edges[1]
	if first == second { // a ring on a stalk that is gone
		t.edges[first].from, t.edges[first].to = -1, -1
		node.edges = nil
		return
	}
	a, b := t.leaving(first, n), t.leaving(second, n)
	pixels := slices.Clone(a.pixels)
	slices.Reverse(pixels)
	if pixels[len(pixels)-1] == b.pixels[0] {
		pixels = pixels[:len(pixels)-1]
	}
	t.remove(first)
	t.remove(second)
	node.edges = nil
	t.addEdge(a.to, b.to, append(pixels, b.pixels...))
}

// leaving returns an edge in the direction that leaves node n.
func (t *tracing) leaving(e, n int) tracedEdge {
	edge := t.edges[e]
	if edge.from == n {
		return edge
	}
	pixels := slices.Clone(edge.pixels)
	slices.Reverse(pixels)
	return tracedEdge{from: n, to: edge.from, pixels: pixels}
}

// merge makes one node of branchings that are joined by a bridge no longer than the vessels are wide, and removes the small
// rings that are left: holes of a mask.
func (t *tracing) merge() {
	// Whatever changes is looked at again, and nothing else: a mesh has thousands of bridges.
	known := len(t.edges)
	todo := make([]int, known)
	for e := range todo {
		todo[e] = e
	}
	for len(todo) > 0 {
		e := todo[0]
		todo = todo[1:]
		edge := t.edges[e]
		if edge.dead || edge.from < 0 || len(t.nodes[edge.from].edges) < 3 || len(t.nodes[edge.to].edges) < 3 {
			continue
		}
		radius := max(t.nodes[edge.from].radius, t.nodes[edge.to].radius)
		length := t.length(e)
		switch {
		case edge.from == edge.to:
			if length <= 2*math.Pi*mergeRadii*radius {
				t.remove(e)
				t.join(edge.from)
				for ; known < len(t.edges); known++ {
					todo = append(todo, known)
				}
			}
		case length <= mergeRadii*radius+slackPx:
			t.remove(e)
			keep, gone := &t.nodes[edge.from], &t.nodes[edge.to]
			keep.pixels = append(keep.pixels, gone.pixels...)
			keep.radius = radius
			for _, x := range gone.edges {
				if t.edges[x].from == edge.to {
					t.edges[x].from = edge.from
				}
				if t.edges[x].to == edge.to {
					t.edges[x].to = edge.from
				}
			}
			keep.edges = append(keep.edges, gone.edges...)
			gone.edges = nil
			todo = append(todo, keep.edges...) // they may be rings now, or short for the wider of the two
		}
	}
}

// dropSpecks removes parts that are too short to be a piece of vessel.
func (t *tracing) dropSpecks() {
	for e := range t.edges {
		edge := &t.edges[e]
		switch {
		case edge.dead || t.length(e) >= speckPx:
		case edge.from < 0:
			edge.dead = true
		case edge.from != edge.to && len(t.nodes[edge.from].edges) == 1 && len(t.nodes[edge.to].edges) == 1:
			t.remove(e)
		}
	}
}

// graph puts together what is alive.
func (t *tracing) graph(fov *raster.Mask) *Graph {
	g := &Graph{}
	w := t.skeleton.Width
	lines := make([][]Point, len(t.edges))
	for i, e := range t.edges {
		if e.dead {
			continue
		}
		for _, p := range e.pixels {
			lines[i] = append(lines[i], centre(p, w))
		}
		if e.from >= 0 {
			lines[i] = t.drawEnd(lines[i], &t.nodes[e.to])
			slices.Reverse(lines[i])
			lines[i] = t.drawEnd(lines[i], &t.nodes[e.from])
			slices.Reverse(lines[i])
		}
	}
	index := make([]int, len(t.nodes))
	for i, n := range t.nodes {
		if len(n.edges) == 0 {
			continue
		}
		index[i] = len(g.Nodes)
		node := Node{RadiusPx: n.radius}
		for _, p := range n.pixels {
			node.At = node.At.plus(centre(p, w), 1/float64(len(n.pixels)))
		}
		node.AtEdge = len(n.edges) == 1 && nearEdge(fov, node.At, n.radius+edgeSlackPx)
		g.Nodes = append(g.Nodes, node)
	}
	for i, e := range t.edges {
		if e.dead {
			continue
		}
		s := Segment{From: -1, To: -1}
		line, closed := lines[i], e.from < 0
		var skipStart, skipEnd float64
		if !closed {
			s.From, s.To = index[e.from], index[e.to]
			from, to := &g.Nodes[s.From], &g.Nodes[s.To]
			from.Segments = append(from.Segments, len(g.Segments))
			to.Segments = append(to.Segments, len(g.Segments))
			// Lines go on to the middle of a branching, and widths are not taken there, where vessels run into each other.
			if len(t.nodes[e.from].edges) > 1 {
				skipStart = from.RadiusPx
				way := between(from.At, line[0])
				line = append(way[:len(way)-1], line...)
			}
			if len(t.nodes[e.to].edges) > 1 {
				skipEnd = to.RadiusPx
				line = append(line, between(line[len(line)-1], to.At)[1:]...)
			}
		}
		s.Points = smooth(line, closed)
		s.LengthPx = lineLength(s.Points)
		s.Turning = turning(line, closed)
		s.WidthsPx = t.widths.along(s.Points, skipStart, skipEnd)
		g.Segments = append(g.Segments, s)
	}
	return g
}

// drawEnd draws the end of a line that ends free at tip anew: thinning turns towards a corner there and stops short, so the last
// endRadii radii become a straight continuation to the edge of the mask. The tip's radius becomes the vessel's.
func (t *tracing) drawEnd(line []Point, tip *tracedNode) []Point {
	if len(tip.edges) > 1 {
		return line
	}
	gone, i := 0.0, len(line)-1
	for ; i > 0; i-- {
		tip.radius = clearance(t.mask, line[i])
		if gone >= endRadii*tip.radius {
			break
		}
		gone += line[i].minus(line[i-1]).length()
	}
	back := i / 2
	if back < minEndPoints {
		return line // too short to have a direction
	}
	back = min(back, endPoints)
	smoothed := smooth(line[:i+1], false)
	end := smoothed[i]
	// As the line has turned, so it goes on turning.
	last, before := end.minus(smoothed[i-back]), smoothed[i-back].minus(smoothed[i-2*back])
	direction := last.plus(last.minus(before), 1)
	unit := Point{}.plus(direction, 1/direction.length())
	reach := min(t.widths.reach(end, unit, 1), 2*tip.radius+gone)
	return append(line[:i], between(end, end.plus(unit, reach))...)
}

// between are points from a to b, about one pixel apart.
func between(a, b Point) []Point {
	way := b.minus(a)
	n := max(1, int(math.Round(way.length())))
	points := make([]Point, n+1)
	for i := range points {
		points[i] = a.plus(way, float64(i)/float64(n))
	}
	return points
}

func centre(p int32, width int) Point {
	return Point{float64(int(p)%width) + .5, float64(int(p)/width) + .5}
}

// nearEdge tells whether anything outside the field lies within a distance.
func nearEdge(fov *raster.Mask, at Point, distance float64) bool {
	r := int(math.Ceil(distance))
	cx, cy := int(at.X), int(at.Y)
	for y := cy - r; y <= cy+r; y++ {
		for x := cx - r; x <= cx+r; x++ {
			if math.Hypot(float64(x)+.5-at.X, float64(y)+.5-at.Y) > distance {
				continue
			}
			if x < 0 || y < 0 || x >= fov.Width || y >= fov.Height || !fov.On(x, y) {
				return true
			}
		}
	}
	return false
}

// clearance is the distance from a pixel's centre to the edge of the mask: to the nearest centre outside, less the half pixel
// that this one lies outside.
func clearance(mask *raster.Mask, at Point) float64 {
	w, h := mask.Width, mask.Height
	cx, cy := int(at.X), int(at.Y)
	best := math.MaxInt
	for r := 1; r*r < best; r++ {
		for d := -r; d <= r; d++ {
			for _, q := range [4][2]int{{cx + d, cy - r}, {cx + d, cy + r}, {cx - r, cy + d}, {cx + r, cy + d}} {
				if q[0] < 0 || q[1] < 0 || q[0] >= w || q[1] >= h || mask.Pix[q[1]*w+q[0]] == 0 {
					best = min(best, (q[0]-cx)*(q[0]-cx)+(q[1]-cy)*(q[1]-cy))
				}
			}
		}
	}
	return math.Sqrt(float64(best)) - .5
}
