package vessel

import "github.com/noctua-screening/noctua/pkg/raster"

// orientation brings a grid into one of its eight positions: mirrored, then transposed.
type orientation struct {
	mirrorX, mirrorY, transpose bool
	width, height               int // of the grid before
}

// orientationOf chooses the position in which most of a mask lies to the right and below, and more to the right. Thinning peels its
// sides in a fixed order; done in this position, it gives a picture that was turned or mirrored the same skeleton. Masks that balance
// on an axis have no such position, and keep the one they are in.
func orientationOf(mask *raster.Mask) orientation {
	o := orientation{width: mask.Width, height: mask.Height}
	var x, y int // first moments about the middle, half pixels
	for row := range mask.Height {
		for column, v := range mask.Pix[row*mask.Width : (row+1)*mask.Width] {
			if v != 0 {
				x += 2*column + 1 - mask.Width
				y += 2*row + 1 - mask.Height
			}
		}
	}
	if x < 0 {
		o.mirrorX, x = true, -x
	}
	if y < 0 {
		o.mirrorY, y = true, -y
	}
	o.transpose = y > x
	return o
}

// mask brings a mask of the grid into position.
func (o orientation) mask(m *raster.Mask) *raster.Mask {
	width, height := o.width, o.height
	if o.transpose {
		width, height = height, width
	}
	out := raster.NewMask(width, height)
	for y := range o.height {
		for x, v := range m.Pix[y*o.width : (y+1)*o.width] {
			if v == 0 {
				continue
			}
			u, w := x, y
			if o.mirrorX {
				u = o.width - 1 - x
			}
			if o.mirrorY {
				w = o.height - 1 - y
			}
			if o.transpose {
				u, w = w, u
			}
			out.Pix[w*width+u] = v
		}
	}
	return out
}

// back brings a point in position back onto the grid.
func (o orientation) back(p Point) Point {
	if o.transpose {
		p.X, p.Y = p.Y, p.X
	}
	if o.mirrorX {
		p.X = float64(o.width) - p.X
	}
	if o.mirrorY {
		p.Y = float64(o.height) - p.Y
	}
	return p
}

// graph makes the graph of a mask in position, and brings it back.
func (o orientation) graph(mask, fov *raster.Mask) *Graph {
	mask, fov = o.mask(mask), o.mask(fov)
	g := NewGraph(mask, fov, Skeleton(mask))
	for i := range g.Nodes {
		g.Nodes[i].At = o.back(g.Nodes[i].At)
	}
	for i := range g.Segments {
		points := g.Segments[i].Points
		for j := range points {
			points[j] = o.back(points[j])
		}
	}
	return g
}
