package derived

import (
	"strconv"
	"strings"

	library "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/internal/element"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/raster"
	"github.com/noctua-screening/noctua/pkg/record"
)

// Vessel is the class of vessels.
const Vessel = "vessel"

// Segment is what a model says of one of its classes.
type Segment struct {
	Class string       // as the model names it
	Mask  *raster.Mask // on the photograph's own pixels
}

// Segmentation is what a SEG object says.
type Segmentation struct {
	Source    dicom.Source
	Algorithm Algorithm
	Segments  []Segment // at least one, all of the photograph's size; numbered from 1 in this order
}

// maxSide is the most rows or columns that the attributes hold.
const maxSide = 1<<16 - 1

// SEG writes a binary segmentation: a segment and a frame for each class, each pixel that of the photograph at the same place.
//
// Faults: Invalid reference-missing if no object can refer to the source; Internal dicom-writer if the segments do not fit
// together.
func SEG(s Segmentation) ([]byte, Reference, error) {
	if err := s.Source.Referable(); err != nil {
		return nil, Reference{}, err
	}
	s.Algorithm = s.Algorithm.clean()
	if len(s.Segments) == 0 {
		return nil, Reference{}, fault.New(fault.Internal, codeWriter, "a segmentation needs a segment")
	}
	first := s.Segments[0].Mask
	var masks []*raster.Mask
	var classes []string
	for _, segment := range s.Segments {
		m := segment.Mask
		if m.Width != first.Width || m.Height != first.Height || m.Width > maxSide || m.Height > maxSide || len(m.Pix) != m.Width*m.Height || len(m.Pix) == 0 || segment.Class == "" {
			return nil, Reference{}, fault.New(fault.Internal, codeWriter, "the segment %q of %d × %d pixels does not fit the first, of %d × %d", segment.Class, m.Width, m.Height, first.Width, first.Height)
		}
		masks, classes = append(masks, m), append(classes, segment.Class)
	}
	pixels := pack(masks)
	uid, err := contentUID("segmentation", struct {
		Source        dicom.Source
		Algorithm     Algorithm
		Classes       []string
		Rows, Columns int
	}{s.Source, s.Algorithm, classes, first.Height, first.Width}, pixels)
	if err != nil {
		return nil, Reference{}, err
	}
	ref := reference(uid)

	b := &element.Set{}
	addHeader(b, ClassSegmentation, ref, &s.Source, &s.Algorithm)
	b.Text(tag.Modality, "SEG")
	b.Text(tag.SeriesNumber, seriesNumberSEG)
	b.Text(tag.SeriesDescription, "Noctua segmentation")
	b.Text(tag.BodyPartExamined, "EYE")
	b.Text(tag.ImageType, "DERIVED", "PRIMARY")
	b.Text(tag.ContentLabel, "VESSELS")
	b.Text(tag.ContentDescription, "Segmentation of a fundus photograph")
	b.Text(tag.ContentCreatorName)
	b.Text(tag.BurnedInAnnotation, "NO") // a mask shows no text
	s.addCompression(b)
	s.addReferences(b)
	s.addSegments(b)
	s.addFrames(b)

	b.Numbers(tag.SamplesPerPixel, 1)
	b.Text(tag.PhotometricInterpretation, "MONOCHROME2")
	b.Text(tag.NumberOfFrames, strconv.Itoa(len(masks)))
	b.Numbers(tag.Rows, first.Height)
	b.Numbers(tag.Columns, first.Width)
	b.Numbers(tag.BitsAllocated, 1)
	b.Numbers(tag.BitsStored, 1)
	b.Numbers(tag.HighBit, 0)
	b.Numbers(tag.PixelRepresentation, 0)
	// The library would write a bit of a native frame in the wrong order; bytes that it has not made it writes as they are.
	b.Add(tag.PixelData, library.PixelDataInfo{IntentionallyUnprocessed: true, UnprocessedValueData: pixels}).RawValueRepresentation = "OB"
	data, err := write(b, "segmentation")
	return data, ref, err
}

// addCompression copies the lossy flags: what was found in pixels that lost something may have lost it too.
func (s *Segmentation) addCompression(b *element.Set) {
	if !s.Source.Lossy {
		b.Text(tag.LossyImageCompression, "00")
		return
	}
	b.Text(tag.LossyImageCompression, "01")
	if len(s.Source.LossyRatios) > 0 {
		b.Text(tag.LossyImageCompressionRatio, s.Source.LossyRatios...)
	}
	if len(s.Source.LossyMethods) > 0 {
		b.Text(tag.LossyImageCompressionMethod, s.Source.LossyMethods...)
	}
}

// addReferences adds the picture's series and the frame of reference. Photographs hardly ever have one; one of the picture alone
// is made up then, since viewers need it to lay the segmentation over the picture.
func (s *Segmentation) addReferences(b *element.Set) {
	instance, series := &element.Set{}, &element.Set{}
	addSOP(instance, s.Source.SOPClassUID, s.Source.SOPUID)
	series.Text(tag.SeriesInstanceUID, s.Source.SeriesUID)
	series.Sequence(tag.ReferencedInstanceSequence, instance)
	b.Sequence(tag.ReferencedSeriesSequence, series)
	frame := s.Source.FrameOfReference
	if frame == "" {
		frame = dicom.UID("frame of reference", s.Source.SOPUID)
	}
	b.Text(tag.FrameOfReferenceUID, frame)
	b.Text(tag.PositionReferenceIndicator, s.Source.PositionReference)
}

func (s *Segmentation) addSegments(b *element.Set) {
	var items []*element.Set
	private := false
	for i, segment := range s.Segments {
		item := &element.Set{}
		item.Numbers(tag.SegmentNumber, i+1)
		item.Text(tag.SegmentLabel, label(segment.Class))
		item.Text(tag.SegmentAlgorithmType, "AUTOMATIC")
		item.Text(tag.SegmentAlgorithmName, s.Algorithm.Name)
		item.Codes(tag.SegmentedPropertyCategoryCodeSequence, codeAnatomical)
		property := propertyType(segment.Class)
		private = private || property.Scheme == Scheme
		item.Codes(tag.SegmentedPropertyTypeCodeSequence, property)
		item.Sequence(tag.AnatomicRegionSequence, region(s.Source.Laterality))
		item.Text(tag.TrackingID, trackingID(segment.Class))
		item.Text(tag.TrackingUID, trackingUID(&s.Source, segment.Class))
		algorithm := &element.Set{}
		algorithm.Codes(tag.AlgorithmFamilyCodeSequence, codeAI)
		algorithm.Text(tag.AlgorithmName, s.Algorithm.Name)
		algorithm.Text(tag.AlgorithmVersion, s.Algorithm.Version)
		algorithm.Text(tag.AlgorithmParameters, s.Algorithm.Parameters)
		item.Sequence(tag.SegmentationAlgorithmIdentificationSequence, algorithm)
		items = append(items, item)
	}
	if private {
		addScheme(b)
	}
	b.Text(tag.SegmentationType, "BINARY")
	b.Sequence(tag.SegmentSequence, items...)
	overlap := "NO"
	if len(s.Segments) > 1 {
		overlap = "YES" // an artery is a vessel too
	}
	b.Text(tag.SegmentsOverlap, overlap)
}

// region is the retina with the eye as its modifier.
func region(eye record.Laterality) *element.Set {
	item := &element.Set{}
	item.Text(tag.CodeValue, codeRetina.Value)
	item.Text(tag.CodingSchemeDesignator, codeRetina.Scheme)
	item.Text(tag.CodeMeaning, codeRetina.Meaning)
	if code, ok := eyes[eye]; ok {
		item.Codes(tag.AnatomicRegionModifierSequence, code)
	}
	return item
}

// label is a class as people read it.
func label(class string) string { return own(class, "").Meaning }

// Tracking identifiers are the same in SEG and SR, so that what was measured can be found again.
func trackingID(parts ...string) string { return strings.Join(parts, ", ") }

func trackingUID(src *dicom.Source, parts ...string) string {
	return dicom.UID(append([]string{"tracking", src.SOPUID}, parts...)...)
}

// addFrames adds the functional groups and the dimension that frames are told apart by, which is the segment.
func (s *Segmentation) addFrames(b *element.Set) {
	organisation := dicom.UID("dimension organisation", s.Source.SOPUID)
	item := &element.Set{}
	item.Text(tag.DimensionOrganizationUID, organisation)
	b.Sequence(tag.DimensionOrganizationSequence, item)
	index := &element.Set{}
	index.Text(tag.DimensionOrganizationUID, organisation)
	index.Numbers(tag.DimensionIndexPointer, int(tag.ReferencedSegmentNumber.Group), int(tag.ReferencedSegmentNumber.Element))
	index.Numbers(tag.FunctionalGroupPointer, int(tag.SegmentIdentificationSequence.Group), int(tag.SegmentIdentificationSequence.Element))
	index.Text(tag.DimensionDescriptionLabel, "Segment Number")
	b.Sequence(tag.DimensionIndexSequence, index)

	// The picture lies in the plane z = 0 of its frame of reference, pixel by pixel. Where the distance between pixels is not known
	// it is 1, since viewers do not load an object without.
	spacing := "1"
	if mm := s.Source.PixelSpacingMm; mm > 0 {
		spacing = strconv.FormatFloat(mm, 'g', 8, 64)
	}
	shared, orientation, measures := &element.Set{}, &element.Set{}, &element.Set{}
	orientation.Text(tag.ImageOrientationPatient, "1", "0", "0", "0", "1", "0")
	shared.Sequence(tag.PlaneOrientationSequence, orientation)
	measures.Text(tag.PixelSpacing, spacing, spacing)
	measures.Text(tag.SliceThickness, "1")
	shared.Sequence(tag.PixelMeasuresSequence, measures)
	b.Sequence(tag.SharedFunctionalGroupsSequence, shared)

	var frames []*element.Set
	for i := range s.Segments {
		frame, content, position, segment := &element.Set{}, &element.Set{}, &element.Set{}, &element.Set{}
		content.Numbers(tag.DimensionIndexValues, i+1)
		frame.Sequence(tag.FrameContentSequence, content)
		position.Text(tag.ImagePositionPatient, "0", "0", "0")
		frame.Sequence(tag.PlanePositionSequence, position)
		segment.Numbers(tag.ReferencedSegmentNumber, i+1)
		frame.Sequence(tag.SegmentIdentificationSequence, segment)
		source, derivation := &element.Set{}, &element.Set{}
		addSource(source, &s.Source)
		source.Text(tag.SpatialLocationsPreserved, "YES")
		source.Codes(tag.PurposeOfReferenceCodeSequence, dcm("121322", "Source image for image processing operation"))
		derivation.Sequence(tag.SourceImageSequence, source)
		derivation.Codes(tag.DerivationCodeSequence, dcm("113076", "Segmentation"))
		frame.Sequence(tag.DerivationImageSequence, derivation)
		frames = append(frames, frame)
	}
	b.Sequence(tag.PerFrameFunctionalGroupsSequence, frames...)
}
