package report

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"path"
	"strings"
	"sync"

	"golang.org/x/image/draw"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/fundus"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	// pictureLimit bounds a DICOM object read for viewing, as intake bounds it.
	pictureLimit = 512 << 20
	// derivedLimit bounds masks and overlays.
	derivedLimit = 128 << 20
	// maxPicturePixels bounds what is decoded for scaling.
	maxPicturePixels = 150_000_000
	// Widths are rounded up to steps, so that the cache holds few versions of a picture.
	widthStep, maxWidth = 200, 4000
	jpegQuality         = 88

	pictureUnreadableCode = "picture-unreadable"
)

// apiPicture answers GET /api/images/{sop}/{sha}/{photo.jpg|mask.png|overlay.jpg|vessels.jpg|segments.csv|seg.dcm|sr.dcm}[?width=]. Without width a mask is 0 and 255
// in the photograph's own geometry; with width it is scaled for viewing, with grey edges.
func (s *Service) apiPicture(w http.ResponseWriter, r *http.Request) error {
	width, err := intParam(r.URL.Query(), "width", 0, 1, maxWidth)
	if err != nil {
		return err
	}
	width = (width + widthStep - 1) / widthStep * widthStep
	img, err := s.visibleImage(r)
	if err != nil {
		return err
	}
	file := r.PathValue("file")
	mediaType := map[string]string{"photo.jpg": "image/jpeg", "mask.png": "image/png", "overlay.jpg": "image/jpeg", "vessels.jpg": "image/jpeg", "segments.csv": "text/csv; charset=utf-8",
		"seg.dcm": "application/dicom", "sr.dcm": "application/dicom"}[file]
	if mediaType == "" {
		return fault.New(fault.NotFound, "not-found", "an image has photo.jpg, mask.png, overlay.jpg, vessels.jpg, segments.csv, seg.dcm and sr.dcm")
	}
	if ext := path.Ext(file); ext == ".csv" || ext == ".dcm" {
		width = 0 // they are handed out as they are
	}
	// Browsers keep pictures only as long as they may ask again: the session may be over.
	w.Header().Set("Cache-Control", "private, no-cache")
	outcome := outcomeOf(img)
	version := img.Sha256[:16]
	if file != "photo.jpg" {
		version += "-" + path.Base(path.Dir(outcome))
	}
	etag := fmt.Sprintf(`"%s-%s-%d"`, version, file, width)
	entity := record.AuditEntity{Kind: record.EntityPicture, Resource: path.Join(img.SOPUID, img.Sha256[:16], file), PatientKey: img.PatientKey, Clinic: img.Clinic}
	if matches(r, etag) { // it is seen again, from the browser's memory
		if err := s.audited(r, entity); err != nil {
			return err
		}
	}
	if notModified(w, r, etag, img.ReceivedAt) {
		return nil
	}
	raw, err := s.pictures.get(r.Context(), fmt.Sprintf("%s/%s/%d", img.SOPUID, version+file, width), func(ctx context.Context) ([]byte, error) {
		if file == "photo.jpg" {
			return s.photo(ctx, img, width)
		}
		return s.derived(ctx, outcome, file, width)
	})
	if err != nil {
		return err
	}
	if err := s.audited(r, entity); err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	s.send(w, raw)
	return nil
}

// visibleImage is the image that a request names by SOP instance UID and digest, which whoever asks may see. One that they may not see is
// not there.
func (s *Service) visibleImage(r *http.Request) (store.Image, error) {
	sha := r.PathValue("sha")
	if len(sha) < 8 || strings.Trim(sha, "0123456789abcdef") != "" {
		return store.Image{}, fault.New(fault.NotFound, "not-found", "there is no such image")
	}
	img, err := s.deps.Store.Image(r.Context(), r.PathValue("sop"), sha)
	if err == nil && !askerOf(r.Context()).clinics.Has(img.Clinic) {
		return store.Image{}, fault.New(fault.NotFound, "not-indexed", "there is no such image")
	}
	return img, err
}

// outcomeOf is the key of the document of what was found on an image, as its report has it: while a new model is at work, the report
// still speaks for what is there.
func outcomeOf(img store.Image) string {
	if img.Status != record.ImageMeasured && img.ReportedStatus == record.ImageMeasured {
		return img.ReportedOutcome
	}
	return img.OutcomeKey
}

// photo makes the picture that people see of an archived image.
func (s *Service) photo(ctx context.Context, img store.Image, width int) ([]byte, error) {
	rgb, err := s.pixels(ctx, img)
	if err != nil {
		return nil, err
	}
	return encodeJPEG(scale(fromRaster(rgb), width))
}

// pixels decodes an archived image to what people may see of it. Where the file says that text is burned in, what lies outside the
// field of view is blanked, since names are written there; where no field of view is found, the picture is withheld.
func (s *Service) pixels(ctx context.Context, img store.Image) (*raster.RGB, error) {
	raw, err := s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Archive, img.InstanceKey, documentLimit)
	if err != nil {
		return nil, err
	}
	instance, err := record.Decode[record.Instance](record.InstanceSchema, raw)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", img.InstanceKey, err)
	}
	dicom, err := s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Archive, img.ArchiveKey, pictureLimit)
	if err != nil {
		return nil, err
	}
	rgb, err := s.deps.Photo(ctx, dicom)
	if err != nil {
		return nil, fmt.Errorf("decoding an archived image for viewing: %w", err)
	}
	if err := rgb.Check(); err != nil {
		return nil, err
	}
	if rgb.Width*rgb.Height > maxPicturePixels {
		return nil, fault.New(fault.Unsupported, "picture-too-large", "this picture has %d × %d pixels, more than the %d million that are shown here; open it with a DICOM viewer", rgb.Width, rgb.Height, maxPicturePixels/1_000_000)
	}
	if instance.BurnedIn {
		fov, err := fundus.FindFOV(rgb)
		if fundus.Refused(err) {
			return nil, fault.Wrap(fault.NotFound, "picture-withheld", err, "names may be written anywhere in this picture, so that it is not shown; look at it at the camera or archive")
		}
		if err != nil {
			return nil, fmt.Errorf("finding the field of view of a picture with burned-in text: %w", err)
		}
		fov.BlankOutside(rgb)
	}
	return rgb, nil
}

// derived reads a file that segmentation left beside its result.
func (s *Service) derived(ctx context.Context, outcome, file string, width int) ([]byte, error) {
	if outcome == "" {
		return nil, fault.New(fault.NotFound, "picture-missing", "this image was not measured, so that it has no %s", file)
	}
	raw, err := s.deps.Blob.GetBytes(ctx, s.deps.Blob.Buckets().Results, beside(outcome, file), derivedLimit)
	if err != nil || width == 0 {
		return raw, err
	}
	head, _, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil || head.Width*head.Height > maxPicturePixels {
		return nil, fault.New(fault.Internal, pictureUnreadableCode, "%s of a result cannot be read as a picture", file)
	}
	if head.Width <= width {
		return raw, nil
	}
	decoded, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, pictureUnreadableCode, err, "%s of a result cannot be read as a picture", file)
	}
	if path.Ext(file) == ".jpg" {
		return encodeJPEG(scale(decoded, width))
	}
	grey := image.NewGray(fit(decoded.Bounds(), width))
	draw.BiLinear.Scale(grey, grey.Bounds(), decoded, decoded.Bounds(), draw.Src, nil)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, grey); err != nil {
		return nil, fmt.Errorf("encoding a mask for viewing: %w", err)
	}
	return out.Bytes(), nil
}

func fromRaster(p *raster.RGB) image.Image {
	out := image.NewRGBA(image.Rect(0, 0, p.Width, p.Height))
	for i, j := 0, 0; i < len(p.Pix); i, j = i+3, j+4 {
		out.Pix[j], out.Pix[j+1], out.Pix[j+2], out.Pix[j+3] = p.Pix[i], p.Pix[i+1], p.Pix[i+2], 255
	}
	return out
}

// fit is the size of a picture of a width. Nothing is enlarged.
func fit(b image.Rectangle, width int) image.Rectangle {
	if width == 0 || width >= b.Dx() {
		return image.Rect(0, 0, b.Dx(), b.Dy())
	}
	return image.Rect(0, 0, width, max(1, (b.Dy()*width+b.Dx()/2)/b.Dx()))
}

func scale(src image.Image, width int) image.Image {
	size := fit(src.Bounds(), width)
	if size.Dx() == src.Bounds().Dx() {
		return src
	}
	out := image.NewRGBA(size)
	draw.BiLinear.Scale(out, size, src, src.Bounds(), draw.Src, nil)
	return out
}

func encodeJPEG(img image.Image) ([]byte, error) {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, fmt.Errorf("encoding a picture for viewing: %w", err)
	}
	return out.Bytes(), nil
}

// pictures makes pictures for viewing, few at a time, and keeps the last of them.
type pictures struct {
	slots chan struct{}
	limit int // bytes
	mu    sync.Mutex
	size  int
	order *list.List // of *cached, the last used first
	byKey map[string]*list.Element
}

type cached struct {
	key string
	raw []byte
}

func newPictures(decoders, limit int) *pictures {
	return &pictures{slots: make(chan struct{}, decoders), limit: limit, order: list.New(), byKey: map[string]*list.Element{}}
}

// get returns a picture from the cache or makes it. Waiting for a slot ends with the reader's patience.
func (p *pictures) get(ctx context.Context, key string, produce func(context.Context) ([]byte, error)) ([]byte, error) {
	if raw := p.find(key); raw != nil {
		return raw, nil
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.slots }()
	if raw := p.find(key); raw != nil { // made while this one waited
		return raw, nil
	}
	raw, err := produce(ctx)
	if err == nil {
		p.keep(key, raw)
	}
	return raw, err
}

// largest is how many bytes are kept of one picture: one that fills a quarter of the cache would push out everything else.
func (p *pictures) largest() int {
	const largestShare = 4
	return p.limit / largestShare
}

func (p *pictures) find(key string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.byKey[key]
	if !ok {
		return nil
	}
	p.order.MoveToFront(e)
	return e.Value.(*cached).raw
}

func (p *pictures) keep(key string, raw []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.byKey[key]; ok || len(raw) > p.largest() {
		return
	}
	p.byKey[key] = p.order.PushFront(&cached{key, raw})
	for p.size += len(raw); p.size > p.limit; {
		last := p.order.Back()
		old := p.order.Remove(last).(*cached)
		delete(p.byKey, old.key)
		p.size -= len(old.raw)
	}
}
