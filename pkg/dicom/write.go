package dicom

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	library "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/frame"
	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// UIDRoot is what Noctua's own UIDs start with: the root for UIDs made of 128-bit numbers (PS3.5 B.2), which needs no
// registration.
const UIDRoot = "2.25."

// ImplementationUID names Noctua as the writer of a file (0002,0012) and as a partner on the network.
const ImplementationUID = UIDRoot + "187229834675923874650192837465019283746"

// UID makes a UID of what tells a thing apart. Same parts, same UID.
func UID(parts ...string) string {
	digest := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return UIDRoot + new(big.Int).SetBytes(digest[:16]).String()
}

// FundusAttributes describe a fundus photograph to WriteOP. Fields without "required" may be empty.
type FundusAttributes struct {
	PatientID   string            // required
	Issuer      string            // IssuerOfPatientID
	PatientName string            // component form: Family^Given
	BirthDate   time.Time         // zero: unknown
	Sex         record.Sex        // M, F, O or ""
	Laterality  record.Laterality // R or L; "": a camera that did not say, which intake refuses
	AcquiredAt  time.Time         // required; as the camera's clock showed it
	Instance    int               // number of the picture within its series, from 1; 0 means 1
	// StudyUID, SeriesUID and SOPUID are made from the patient, the day, the eye and the picture where they are empty.
	StudyUID, SeriesUID, SOPUID string
	AccessionNumber             string
	// HorizontalFOVDeg is the horizontal field of view in degrees; 0 means 45.
	HorizontalFOVDeg float64
	// Colour is false for red-free and the like: ImageType value 4 is then RED.
	NotColour bool
	Device    record.AcquisitionDevice // empty fields get a value, since the object requires them
}

// WriteOP writes an Ophthalmic Photography 8 Bit Image (JPEG Baseline, encapsulated as it is; UTF-8 text). Same attributes
// and picture, same bytes. It is meant for synthetic photographs and tests; dciodvfy finds no errors in what it writes.
//
// Faults: Invalid with one of the Code… constants if an attribute or the picture cannot be written.
func WriteOP(w io.Writer, a FundusAttributes, jpeg []byte) error {
	header, err := pixel.ParseJPEGHeader(jpeg)
	if err != nil {
		return err
	}
	if err := header.Decodable(); err != nil {
		return err
	}
	if err := a.complete(jpeg); err != nil {
		return err
	}
	elements, err := a.elements(header, jpeg)
	if err != nil {
		return fault.Wrap(fault.Internal, "dicom-writer", err, "making the DICOM file")
	}
	if err := library.Write(w, library.Dataset{Elements: elements}); err != nil {
		return fmt.Errorf("writing the DICOM file: %w", err)
	}
	return nil
}

// complete checks what is required and fills in what was left out.
func (a *FundusAttributes) complete(jpeg []byte) error {
	switch {
	case a.PatientID == "":
		return invalid(CodePatientID, "PatientID is required")
	case a.Laterality != "" && a.Laterality != record.RightEye && a.Laterality != record.LeftEye:
		return invalid(CodeLateralityMissing, "Laterality must be R, L or empty, but is %q", a.Laterality)
	case a.AcquiredAt.IsZero():
		return invalid(CodeValue, "AcquiredAt is required")
	}
	for _, text := range []string{a.PatientID, a.Issuer, a.PatientName, a.AccessionNumber, a.Device.Manufacturer, a.Device.Model, a.Device.Serial, a.Device.Software} {
		if strings.Contains(text, `\`) || Printable(text) != text {
			return invalid(CodeValue, "the attribute %q holds characters that DICOM text must not hold", Printable(text))
		}
	}
	for _, uid := range []string{a.StudyUID, a.SeriesUID, a.SOPUID} {
		if uid != "" && !validUID(uid) {
			return invalid(CodeStudyUID, "%q is not a UID", Printable(uid))
		}
	}
	digest := sha256.Sum256(jpeg)
	day := a.AcquiredAt.Format("20060102")
	a.Instance = max(a.Instance, 1)
	if a.StudyUID == "" {
		a.StudyUID = UID("study", a.Issuer, a.PatientID, day)
	}
	if a.SeriesUID == "" {
		a.SeriesUID = UID("series", a.StudyUID, string(a.Laterality))
	}
	if a.SOPUID == "" {
		a.SOPUID = UID("sop", a.SeriesUID, strconv.Itoa(a.Instance), hex.EncodeToString(digest[:]))
	}
	if a.HorizontalFOVDeg == 0 {
		a.HorizontalFOVDeg = 45
	}
	for _, f := range []struct {
		field    *string
		fallback string
	}{{&a.Device.Manufacturer, "Noctua"}, {&a.Device.Model, "Phantom"}, {&a.Device.Serial, "0001"}, {&a.Device.Software, "1"}} {
		if *f.field == "" {
			*f.field = f.fallback
		}
	}
	return nil
}

// elements lists the elements in the order of their tags, which the standard requires and the library does not see to.
func (a *FundusAttributes) elements(header pixel.JPEGHeader, jpeg []byte) ([]*library.Element, error) {
	b := &builder{}
	day, second := a.AcquiredAt.Format("20060102"), a.AcquiredAt.Format("150405")
	birth := ""
	if !a.BirthDate.IsZero() {
		birth = a.BirthDate.Format("20060102")
	}
	channel := "COLOR"
	if a.NotColour {
		channel = "RED"
	}
	series := map[record.Laterality]string{record.RightEye: "1", record.LeftEye: "2"}[a.Laterality]

	b.bytes(tag.FileMetaInformationVersion, []byte{0, 1})
	b.text(tag.MediaStorageSOPClassUID, ClassOphthalmic8Bit)
	b.text(tag.MediaStorageSOPInstanceUID, a.SOPUID)
	b.text(tag.TransferSyntaxUID, JPEGBaseline)
	b.text(tag.ImplementationClassUID, ImplementationUID)

	b.text(tag.SpecificCharacterSet, "ISO_IR 192")
	b.text(tag.ImageType, "ORIGINAL", "PRIMARY", "", channel)
	b.text(tag.SOPClassUID, ClassOphthalmic8Bit)
	b.text(tag.SOPInstanceUID, a.SOPUID)
	b.text(tag.StudyDate, day)
	b.text(tag.SeriesDate, day)
	b.text(tag.ContentDate, day)
	b.text(tag.AcquisitionDateTime, day+second)
	b.text(tag.StudyTime, second)
	b.text(tag.ContentTime, second)
	b.text(tag.AccessionNumber, a.AccessionNumber)
	b.text(tag.Modality, "OP")
	b.text(tag.Manufacturer, a.Device.Manufacturer)
	b.text(tag.ReferringPhysicianName)
	b.text(tag.ManufacturerModelName, a.Device.Model)
	b.code(tag.AnatomicRegionSequence, "5665001", "Retina")
	b.text(tag.PatientName, a.PatientName)
	b.text(tag.PatientID, a.PatientID)
	if a.Issuer != "" {
		b.text(tag.IssuerOfPatientID, a.Issuer)
	}
	b.text(tag.PatientBirthDate, birth)
	b.text(tag.PatientSex, string(a.Sex))
	b.text(tag.DeviceSerialNumber, a.Device.Serial)
	b.text(tag.SoftwareVersions, a.Device.Software)
	b.text(tag.SynchronizationTrigger, "NO TRIGGER")
	b.text(tag.AcquisitionTimeSynchronized, "N")
	b.text(tag.DetectorType, "CMOS")
	b.text(tag.StudyInstanceUID, a.StudyUID)
	b.text(tag.SeriesInstanceUID, a.SeriesUID)
	b.text(tag.StudyID, "1")
	b.text(tag.SeriesNumber, series)
	b.text(tag.InstanceNumber, strconv.Itoa(a.Instance))
	b.text(tag.PatientOrientation, "L", "F")
	b.text(tag.SynchronizationFrameOfReferenceUID, UID("frame of reference", a.StudyUID))
	b.text(tag.ImageLaterality, string(a.Laterality))
	b.text(tag.PatientEyeMovementCommanded, "NO")
	b.floats(tag.EmmetropicMagnification)
	b.floats(tag.IntraOcularPressure)
	b.floats(tag.HorizontalFieldOfView, a.HorizontalFOVDeg)
	b.text(tag.PupilDilated, "NO")
	b.code(tag.AcquisitionDeviceTypeCodeSequence, "409898007", "Fundus Camera")
	for _, t := range []tag.Tag{tag.IlluminationTypeCodeSequence, tag.LightPathFilterTypeStackCodeSequence, tag.ImagePathFilterTypeStackCodeSequence, tag.LensesCodeSequence, tag.RefractiveStateSequence} {
		b.sequence(t)
	}
	b.picture(header, len(jpeg))
	b.pixels(jpeg)

	slices.SortStableFunc(b.elements, func(x, y *library.Element) int { return x.Tag.Compare(y.Tag) })
	return b.elements, b.err
}

// builder gathers elements and the first error.
type builder struct {
	elements []*library.Element
	err      error
}

func (b *builder) add(t tag.Tag, value any) *library.Element {
	e, err := library.NewElement(t, value)
	if err != nil {
		if b.err == nil {
			b.err = fmt.Errorf("element %s: %w", t, err)
		}
		return &library.Element{}
	}
	b.elements = append(b.elements, e)
	return e
}

func (b *builder) text(t tag.Tag, values ...string)    { b.add(t, append([]string{}, values...)) }
func (b *builder) bytes(t tag.Tag, value []byte)       { b.add(t, value) }
func (b *builder) numbers(t tag.Tag, values ...int)    { b.add(t, values) }
func (b *builder) floats(t tag.Tag, values ...float64) { b.add(t, append([]float64{}, values...)) }

// sequence adds a sequence of items; its length is left undefined, since the library always ends it with a delimiter.
func (b *builder) sequence(t tag.Tag, items ...[]*library.Element) {
	b.add(t, append([][]*library.Element{}, items...)).ValueLength = tag.VLUndefinedLength
}

// code adds a sequence of one SNOMED CT code.
func (b *builder) code(t tag.Tag, value, meaning string) {
	item := &builder{}
	item.text(tag.CodeValue, value)
	item.text(tag.CodingSchemeDesignator, "SCT")
	item.text(tag.CodeMeaning, meaning)
	if item.err != nil && b.err == nil {
		b.err = item.err
	}
	b.sequence(t, item.elements)
}

// picture adds what describes the pixels. JPEG's three components are always called YBR_FULL_422 (PS3.5 8.2.1).
func (b *builder) picture(header pixel.JPEGHeader, bytes int) {
	photometric := "MONOCHROME2"
	if header.Components == 3 {
		photometric = "YBR_FULL_422"
		b.numbers(tag.PlanarConfiguration, 0)
	}
	ratio := float64(header.Components*header.Width*header.Height) / float64(bytes)
	b.numbers(tag.SamplesPerPixel, header.Components)
	b.text(tag.PhotometricInterpretation, photometric)
	b.text(tag.NumberOfFrames, "1")
	b.numbers(tag.FrameIncrementPointer, 0x0018, 0x1063)
	b.text(tag.FrameTime, "0")
	b.numbers(tag.Rows, header.Height)
	b.numbers(tag.Columns, header.Width)
	b.numbers(tag.BitsAllocated, 8)
	b.numbers(tag.BitsStored, 8)
	b.numbers(tag.HighBit, 7)
	b.numbers(tag.PixelRepresentation, 0)
	b.text(tag.BurnedInAnnotation, "NO")
	b.text(tag.LossyImageCompression, "01")
	b.text(tag.LossyImageCompressionRatio, strconv.FormatFloat(ratio, 'f', 2, 64))
	b.text(tag.LossyImageCompressionMethod, "ISO_10918_1")
}

// pixels adds the JPEG stream as one fragment of even length.
func (b *builder) pixels(jpeg []byte) {
	if len(jpeg)%2 == 1 {
		jpeg = append(slices.Clone(jpeg), 0)
	}
	e := b.add(tag.PixelData, library.PixelDataInfo{
		IsEncapsulated: true,
		Frames:         []*frame.Frame{{Encapsulated: true, EncapsulatedData: frame.EncapsulatedFrame{Data: jpeg}}},
	})
	e.RawValueRepresentation, e.ValueLength = "OB", tag.VLUndefinedLength
}
