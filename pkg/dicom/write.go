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

	"github.com/noctua-screening/noctua/pkg/dicom/internal/element"
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

// elements lists the elements in the order of their tags.
func (a *FundusAttributes) elements(header pixel.JPEGHeader, jpeg []byte) ([]*library.Element, error) {
	b := &element.Set{}
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

	b.Bytes(tag.FileMetaInformationVersion, []byte{0, 1})
	b.Text(tag.MediaStorageSOPClassUID, ClassOphthalmic8Bit)
	b.Text(tag.MediaStorageSOPInstanceUID, a.SOPUID)
	b.Text(tag.TransferSyntaxUID, JPEGBaseline)
	b.Text(tag.ImplementationClassUID, ImplementationUID)

	b.Text(tag.SpecificCharacterSet, "ISO_IR 192")
	b.Text(tag.ImageType, "ORIGINAL", "PRIMARY", "", channel)
	b.Text(tag.SOPClassUID, ClassOphthalmic8Bit)
	b.Text(tag.SOPInstanceUID, a.SOPUID)
	b.Text(tag.StudyDate, day)
	b.Text(tag.SeriesDate, day)
	b.Text(tag.ContentDate, day)
	b.Text(tag.AcquisitionDateTime, day+second)
	b.Text(tag.StudyTime, second)
	b.Text(tag.ContentTime, second)
	b.Text(tag.AccessionNumber, a.AccessionNumber)
	b.Text(tag.Modality, "OP")
	b.Text(tag.Manufacturer, a.Device.Manufacturer)
	b.Text(tag.ReferringPhysicianName)
	b.Text(tag.ManufacturerModelName, a.Device.Model)
	b.Codes(tag.AnatomicRegionSequence, element.Code{Value: "5665001", Scheme: "SCT", Meaning: "Retina"})
	b.Text(tag.PatientName, a.PatientName)
	b.Text(tag.PatientID, a.PatientID)
	if a.Issuer != "" {
		b.Text(tag.IssuerOfPatientID, a.Issuer)
	}
	b.Text(tag.PatientBirthDate, birth)
	b.Text(tag.PatientSex, string(a.Sex))
	b.Text(tag.DeviceSerialNumber, a.Device.Serial)
	b.Text(tag.SoftwareVersions, a.Device.Software)
	b.Text(tag.SynchronizationTrigger, "NO TRIGGER")
	b.Text(tag.AcquisitionTimeSynchronized, "N")
	b.Text(tag.DetectorType, "CMOS")
	b.Text(tag.StudyInstanceUID, a.StudyUID)
	b.Text(tag.SeriesInstanceUID, a.SeriesUID)
	b.Text(tag.StudyID, "1")
	b.Text(tag.SeriesNumber, series)
	b.Text(tag.InstanceNumber, strconv.Itoa(a.Instance))
	b.Text(tag.PatientOrientation, "L", "F")
	b.Text(tag.SynchronizationFrameOfReferenceUID, UID("frame of reference", a.StudyUID))
	b.Text(tag.ImageLaterality, string(a.Laterality))
	b.Text(tag.PatientEyeMovementCommanded, "NO")
	b.Floats(tag.EmmetropicMagnification)
	b.Floats(tag.IntraOcularPressure)
	b.Floats(tag.HorizontalFieldOfView, a.HorizontalFOVDeg)
	b.Text(tag.PupilDilated, "NO")
	b.Codes(tag.AcquisitionDeviceTypeCodeSequence, element.Code{Value: "409898007", Scheme: "SCT", Meaning: "Fundus Camera"})
	for _, t := range []tag.Tag{tag.IlluminationTypeCodeSequence, tag.LightPathFilterTypeStackCodeSequence, tag.ImagePathFilterTypeStackCodeSequence, tag.LensesCodeSequence, tag.RefractiveStateSequence} {
		b.Sequence(t)
	}
	addPicture(b, header, len(jpeg))
	addPixels(b, jpeg)
	return b.Elements()
}

// addPicture adds what describes the pixels. JPEG's three components are always called YBR_FULL_422 (PS3.5 8.2.1).
func addPicture(b *element.Set, header pixel.JPEGHeader, bytes int) {
	photometric := "MONOCHROME2"
	if header.Components == 3 {
		photometric = "YBR_FULL_422"
		b.Numbers(tag.PlanarConfiguration, 0)
	}
	ratio := float64(header.Components*header.Width*header.Height) / float64(bytes)
	b.Numbers(tag.SamplesPerPixel, header.Components)
	b.Text(tag.PhotometricInterpretation, photometric)
	b.Text(tag.NumberOfFrames, "1")
	b.Numbers(tag.FrameIncrementPointer, 0x0018, 0x1063)
	b.Text(tag.FrameTime, "0")
	b.Numbers(tag.Rows, header.Height)
	b.Numbers(tag.Columns, header.Width)
	b.Numbers(tag.BitsAllocated, 8)
	b.Numbers(tag.BitsStored, 8)
	b.Numbers(tag.HighBit, 7)
	b.Numbers(tag.PixelRepresentation, 0)
	b.Text(tag.BurnedInAnnotation, "NO")
	b.Text(tag.LossyImageCompression, "01")
	b.Text(tag.LossyImageCompressionRatio, strconv.FormatFloat(ratio, 'f', 2, 64))
	b.Text(tag.LossyImageCompressionMethod, "ISO_10918_1")
}

// addPixels adds the JPEG stream as one fragment of even length.
func addPixels(b *element.Set, jpeg []byte) {
	if len(jpeg)%2 == 1 {
		jpeg = append(slices.Clone(jpeg), 0)
	}
	e := b.Add(tag.PixelData, library.PixelDataInfo{
		IsEncapsulated: true,
		Frames:         []*frame.Frame{{Encapsulated: true, EncapsulatedData: frame.EncapsulatedFrame{Data: jpeg}}},
	})
	e.RawValueRepresentation, e.ValueLength = "OB", tag.VLUndefinedLength
}
