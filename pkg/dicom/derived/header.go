package derived

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	library "github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/internal/element"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// SOP classes of what is written.
const (
	ClassSegmentation    = "1.2.840.10008.5.1.4.1.1.66.4"
	ClassComprehensiveSR = "1.2.840.10008.5.1.4.1.1.88.33"
)

const explicitLittleEndian = "1.2.840.10008.1.2.1"

// manufacturer is who made the objects.
const manufacturer = "Noctua"

// Algorithm says what found the result. All are required.
type Algorithm struct {
	Name       string // of the model
	Version    string // of the model
	SHA256     string // of the model, hexadecimal
	Parameters string // what else decides on the result, for people
	Software   string // version of Noctua
}

// Reference names an object that was written.
type Reference struct{ SOPUID, SeriesUID string }

// maxAlgorithmRunes keeps name and version together within the 64 characters of the type LO.
const maxAlgorithmRunes = 31

// clean is the algorithm as DICOM text can hold it; a site's own model may be called anything.
func (a Algorithm) clean() Algorithm {
	for _, text := range []*string{&a.Name, &a.Version, &a.Software} {
		runes := []rune(strings.ReplaceAll(dicom.Printable(*text), `\`, "/"))
		*text = string(runes[:min(len(runes), maxAlgorithmRunes)])
	}
	return a
}

// contentUID is the UID of an object: made of its kind and everything that is in it.
func contentUID(kind string, content any, more []byte) (string, error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return "", fault.Wrap(fault.Internal, codeWriter, err, "naming the DICOM %s", kind)
	}
	hash := sha256.New()
	hash.Write(raw) // never fails
	hash.Write(more)
	return dicom.UID("derived", kind, hex.EncodeToString(hash.Sum(nil))), nil
}

const codeWriter = "dicom-writer"

func reference(uid string) Reference { return Reference{uid, dicom.UID("series", uid)} }

// Series numbers are far from those that cameras count.
const (
	seriesNumberSEG = "9001"
	seriesNumberSR  = "9002"
)

// Dates and times where the source has none: the date is one of those that devices write for "unknown", and readers know it.
const (
	unknownDate = "19000101"
	unknownTime = "000000"
)

// addHeader adds what both objects share: file meta information, patient, study, series, equipment, and SOP common.
func addHeader(s *element.Set, class string, ref Reference, src *dicom.Source, a *Algorithm) {
	s.Bytes(tag.FileMetaInformationVersion, []byte{0, 1})
	s.Text(tag.MediaStorageSOPClassUID, class)
	s.Text(tag.MediaStorageSOPInstanceUID, ref.SOPUID)
	s.Text(tag.TransferSyntaxUID, explicitLittleEndian)
	s.Text(tag.ImplementationClassUID, dicom.ImplementationUID)

	s.Text(tag.SpecificCharacterSet, "ISO_IR 192")
	s.Text(tag.SOPClassUID, class)
	s.Text(tag.SOPInstanceUID, ref.SOPUID)
	s.Text(tag.SeriesInstanceUID, ref.SeriesUID)
	s.Text(tag.InstanceNumber, "1")

	required := []struct {
		tag   tag.Tag
		value string
	}{
		{tag.PatientName, src.PatientName}, {tag.PatientID, src.PatientID}, {tag.PatientBirthDate, src.BirthDate}, {tag.PatientSex, src.Sex},
		{tag.StudyInstanceUID, src.StudyUID}, {tag.StudyDate, src.StudyDate}, {tag.StudyTime, src.StudyTime},
		{tag.ReferringPhysicianName, src.ReferringPhysician}, {tag.StudyID, src.StudyID}, {tag.AccessionNumber, src.AccessionNumber},
	}
	for _, e := range required {
		s.Text(e.tag, e.value) // there even if empty
	}
	optional := []struct {
		tag   tag.Tag
		value string
	}{
		{tag.IssuerOfPatientID, src.Issuer}, {tag.StudyDescription, src.StudyDescription}, {tag.TimezoneOffsetFromUTC, src.Timezone},
	}
	for _, e := range optional {
		if e.value != "" {
			s.Text(e.tag, e.value)
		}
	}
	day, at := contentTime(src)
	s.Text(tag.ContentDate, day)
	s.Text(tag.ContentTime, at)

	s.Text(tag.Manufacturer, manufacturer)
	s.Text(tag.ManufacturerModelName, a.Name)
	s.Text(tag.DeviceSerialNumber, a.SHA256[:min(16, len(a.SHA256))]) // a model's hash tells its copies from others, as a serial number does
	s.Text(tag.SoftwareVersions, "Noctua "+a.Software, a.Name+" "+a.Version)
}

// contentTime is when the picture was taken, as the camera wrote it.
func contentTime(src *dicom.Source) (day, at string) {
	day, at = src.AcquiredDate, src.AcquiredTime
	if day == "" {
		return unknownDate, unknownTime
	}
	if at == "" {
		at = unknownTime
	}
	return day, at
}

// addSOP adds a reference to an instance; frame or segment numbers are the caller's.
func addSOP(s *element.Set, class, uid string) {
	s.Text(tag.ReferencedSOPClassUID, class)
	s.Text(tag.ReferencedSOPInstanceUID, uid)
}

// addSource adds a reference to the picture; of several frames the first one is meant, which is the one that is analysed.
func addSource(s *element.Set, src *dicom.Source) {
	addSOP(s, src.SOPClassUID, src.SOPUID)
	if src.Frames > 1 {
		s.Text(tag.ReferencedFrameNumber, "1")
	}
}

func write(s *element.Set, what string) ([]byte, error) {
	elements, err := s.Elements()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, codeWriter, err, "making the DICOM %s", what)
	}
	var out bytes.Buffer
	if err := library.Write(&out, library.Dataset{Elements: elements}); err != nil {
		return nil, fmt.Errorf("writing the DICOM %s: %w", what, err)
	}
	return out.Bytes(), nil
}
