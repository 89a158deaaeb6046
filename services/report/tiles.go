package report

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math/bits"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	// tilePx is the side of a tile: a screen shows a handful, and one is some tens of kilobytes.
	tilePx = 512
	// Layers of a picture that come in tiles.
	photoLayer, maskLayer = "photo", "mask"
)

// pyramid is a picture in tiles at halved sizes, as Deep Zoom (DZI) lays them out: level 0 is 1 × 1 pixel, each next one twice as
// large, the last one the picture itself, tiles of tilePx without overlap. It is one run of bytes, so that it is kept and dropped as one.
type pyramid struct {
	width, height int // of the picture, pixels
	levels        int // that are there, from level 0
	raw           []byte
}

// Layout of the bytes: width, height and number of levels, the ends of all tiles (level by level, row by row), the tiles. uint32 each.
const (
	pyramidHead  = 12
	pyramidField = 4
)

// fullLevel is the level of the picture itself.
func fullLevel(width, height int) int { return bits.Len(uint(max(width, height) - 1)) }

// levelSize is the size of a level, pixels.
func (p *pyramid) levelSize(level int) (width, height int) {
	shift := fullLevel(p.width, p.height) - level
	round := 1<<shift - 1
	return (p.width + round) >> shift, (p.height + round) >> shift
}

// levelTiles is how many tiles a level has.
func (p *pyramid) levelTiles(level int) (columns, rows int) {
	w, h := p.levelSize(level)
	return (w + tilePx - 1) / tilePx, (h + tilePx - 1) / tilePx
}

// tile is one tile as it was encoded; nil: there is none.
func (p *pyramid) tile(level, column, row int) []byte {
	if level < 0 || level >= p.levels {
		return nil
	}
	columns, rows := p.levelTiles(level)
	if column < 0 || column >= columns || row < 0 || row >= rows {
		return nil
	}
	index := row*columns + column
	for l := range level {
		c, r := p.levelTiles(l)
		index += c * r
	}
	end := func(i int) int {
		if i < 0 {
			return pyramidHead + pyramidField*p.count()
		}
		return int(binary.LittleEndian.Uint32(p.raw[pyramidHead+pyramidField*i:]))
	}
	return p.raw[end(index-1):end(index)]
}

func (p *pyramid) count() (n int) {
	for l := range p.levels {
		c, r := p.levelTiles(l)
		n += c * r
	}
	return n
}

// openPyramid reads what buildPyramid made.
func openPyramid(raw []byte) *pyramid {
	at := func(i int) int { return int(binary.LittleEndian.Uint32(raw[pyramidField*i:])) }
	return &pyramid{width: at(0), height: at(1), levels: at(2), raw: raw}
}

// layered is a picture that is halved again and again, and cut into tiles.
type layered interface {
	size() (width, height int)
	// half is the picture at half the size, rounded up: each pixel the mean of those of the four that there are.
	half() layered
	// encode writes a part of the picture.
	encode(out *bytes.Buffer, part image.Rectangle) error
}

// buildPyramid cuts a picture into tiles. The finest levels are left out where all of them would take more than limit bytes; level 0 is
// always there.
func buildPyramid(full layered, limit int) ([]byte, error) {
	width, height := full.size()
	p := &pyramid{width: width, height: height}
	levels := []layered{full}
	for range fullLevel(width, height) {
		levels = append(levels, levels[len(levels)-1].half())
	}
	var tiles bytes.Buffer
	var ends []int
	for level := range len(levels) {
		picture := levels[len(levels)-1-level]
		before, known := tiles.Len(), len(ends)
		w, h := picture.size()
		for y := 0; y < h; y += tilePx {
			for x := 0; x < w; x += tilePx {
				if err := picture.encode(&tiles, image.Rect(x, y, min(x+tilePx, w), min(y+tilePx, h))); err != nil {
					return nil, err
				}
				ends = append(ends, tiles.Len())
			}
		}
		if level > 0 && pyramidHead+pyramidField*len(ends)+tiles.Len() > limit {
			tiles.Truncate(before)
			ends = ends[:known]
			break
		}
		p.levels++
	}
	first := pyramidHead + pyramidField*len(ends)
	raw := make([]byte, 0, first+tiles.Len())
	for _, v := range []int{width, height, p.levels} {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(v))
	}
	for _, end := range ends {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(first+end))
	}
	return append(raw, tiles.Bytes()...), nil
}

// photoTiles is a photograph as JPEG.
type photoTiles struct{ *raster.RGB }

func (p photoTiles) size() (int, int) { return p.Width, p.Height }

func (p photoTiles) half() layered {
	const channels = 3
	out := raster.NewRGB((p.Width+1)/2, (p.Height+1)/2)
	halve(out.Pix, p.Pix, p.Width, p.Height, channels)
	return photoTiles{out}
}

func (p photoTiles) encode(out *bytes.Buffer, part image.Rectangle) error {
	tile := image.NewRGBA(image.Rect(0, 0, part.Dx(), part.Dy()))
	for y := range part.Dy() {
		from, to := p.Pix[3*((part.Min.Y+y)*p.Width+part.Min.X):], tile.Pix[y*tile.Stride:]
		for x := range part.Dx() {
			to[4*x], to[4*x+1], to[4*x+2], to[4*x+3] = from[3*x], from[3*x+1], from[3*x+2], 255
		}
	}
	if err := jpeg.Encode(out, tile, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return fmt.Errorf("encoding a tile of a photograph: %w", err)
	}
	return nil
}

// maskTiles is a mask as PNG: white, as opaque as the share of the pixel that is vessel, so that a browser lays it over a photograph and
// colours it without looking at its pixels. One byte a pixel.
type maskTiles struct{ *image.Gray }

func (m maskTiles) size() (int, int) { return m.Rect.Dx(), m.Rect.Dy() }

func (m maskTiles) half() layered {
	w, h := m.size()
	out := image.NewGray(image.Rect(0, 0, (w+1)/2, (h+1)/2))
	halve(out.Pix, m.Pix, w, h, 1)
	return maskTiles{out}
}

// opacities are the colours of a tile of a mask: white, ever more opaque.
var opacities = func() color.Palette {
	const shades = 256
	all := make(color.Palette, shades)
	for i := range all {
		all[i] = color.NRGBA{255, 255, 255, uint8(i)}
	}
	return all
}()

func (m maskTiles) encode(out *bytes.Buffer, part image.Rectangle) error {
	tile := image.NewPaletted(image.Rect(0, 0, part.Dx(), part.Dy()), opacities)
	for y := range part.Dy() {
		copy(tile.Pix[y*tile.Stride:][:part.Dx()], m.Pix[(part.Min.Y+y)*m.Stride+part.Min.X:])
	}
	// The fastest compression takes a third of the time and makes tiles that are larger by some kilobytes.
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(out, tile); err != nil {
		return fmt.Errorf("encoding a tile of a mask: %w", err)
	}
	return nil
}

// halve makes each pixel of out the mean, rounded, of the up to four pixels of in that it stands for.
func halve(out, in []uint8, width, height, channels int) {
	i := 0
	for y := 0; y < height; y += 2 {
		upper := in[y*width*channels:][:width*channels]
		lower := upper
		if y+1 < height {
			lower = in[(y+1)*width*channels:][:width*channels]
		}
		for x := 0; x < width; x += 2 {
			a := x * channels
			b := min(x+1, width-1) * channels
			for c := range channels {
				out[i] = uint8((int(upper[a+c]) + int(upper[b+c]) + int(lower[a+c]) + int(lower[b+c]) + 2) / 4)
				i++
			}
		}
	}
}

// pyramidOf makes or finds the tiles of a layer of a picture, from one decoding of it.
func (s *Service) pyramidOf(ctx context.Context, img store.Image, layer string) (*pyramid, error) {
	outcome := outcomeOf(img)
	key := fmt.Sprintf("%s/%s/tiles/photo", img.SOPUID, img.Sha256)
	if layer == maskLayer {
		key = "tiles/" + beside(outcome, "mask.png")
	}
	raw, err := s.pictures.get(ctx, key, func(ctx context.Context) ([]byte, error) {
		if layer == photoLayer {
			rgb, err := s.pixels(ctx, img)
			if err != nil {
				return nil, err
			}
			return buildPyramid(photoTiles{rgb}, s.pictures.largest())
		}
		mask, err := s.mask(ctx, outcome)
		if err != nil {
			return nil, err
		}
		return buildPyramid(maskTiles{mask}, s.pictures.largest())
	})
	if err != nil {
		return nil, err
	}
	return openPyramid(raw), nil
}

// mask reads the mask of a result.
func (s *Service) mask(ctx context.Context, outcome string) (*image.Gray, error) {
	const file = "mask.png"
	raw, err := s.derived(ctx, outcome, file, 0)
	if err != nil {
		return nil, err
	}
	head, err := png.DecodeConfig(bytes.NewReader(raw))
	if err != nil || head.Width*head.Height > maxPicturePixels {
		return nil, fault.New(fault.Internal, "picture-unreadable", "%s of a result cannot be read as a picture", file)
	}
	decoded, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "picture-unreadable", err, "%s of a result cannot be read as a picture", file)
	}
	if grey, ok := decoded.(*image.Gray); ok && grey.Stride == grey.Rect.Dx() {
		return grey, nil
	}
	grey := image.NewGray(image.Rect(0, 0, head.Width, head.Height))
	draw.Draw(grey, grey.Rect, decoded, decoded.Bounds().Min, draw.Src)
	return grey, nil
}

// apiTile answers GET /api/images/{sop}/{sha}/tiles/{layer}/{level}/{tile}: one tile of the photograph or the mask.
func (s *Service) apiTile(w http.ResponseWriter, r *http.Request) error {
	nothing := fault.New(fault.NotFound, "not-found", "there is no such tile; view.json says how the picture is laid out")
	layer, kind := r.PathValue("layer"), map[string]string{photoLayer: ".jpg", maskLayer: ".png"}
	level, column, row, ok := tileAddress(r.PathValue("level"), r.PathValue("tile"), kind[layer])
	if !ok {
		return nothing
	}
	img, err := s.visibleImage(r)
	if err != nil {
		return err
	}
	version := img.Sha256[:16]
	if layer == maskLayer {
		version += "-" + path.Base(path.Dir(outcomeOf(img)))
	}
	etag := fmt.Sprintf(`"%s-%s-%d-%d-%d"`, version, layer, level, column, row)
	w.Header().Set("Cache-Control", "private, no-cache")
	if matches(r, etag) {
		if err := s.viewed(r, img); err != nil {
			return err
		}
	}
	if notModified(w, r, etag, img.ReceivedAt) {
		return nil
	}
	p, err := s.pyramidOf(r.Context(), img, layer)
	if err != nil {
		return err
	}
	raw := p.tile(level, column, row)
	if raw == nil {
		return nothing
	}
	if err := s.viewed(r, img); err != nil {
		return err
	}
	w.Header().Set("Content-Type", map[string]string{photoLayer: "image/jpeg", maskLayer: "image/png"}[layer])
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	s.send(w, raw)
	return nil
}

// tileAddress reads a level and the name of a tile, "column_row.jpg". false: it is not written as one.
func tileAddress(level, tile, extension string) (l, column, row int, ok bool) {
	name, ok := strings.CutSuffix(tile, extension)
	if !ok || extension == "" {
		return 0, 0, 0, false
	}
	first, second, ok := strings.Cut(name, "_")
	if !ok {
		return 0, 0, 0, false
	}
	for _, part := range []struct {
		text string
		into *int
	}{{level, &l}, {first, &column}, {second, &row}} {
		// One way to write a number, so that each tile has one address.
		n, err := strconv.Atoi(part.text)
		if err != nil || n < 0 || strconv.Itoa(n) != part.text {
			return 0, 0, 0, false
		}
		*part.into = n
	}
	return l, column, row, true
}
