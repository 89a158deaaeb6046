package dicom

import (
	"fmt"

	"github.com/suyashkumar/dicom/pkg/tag"
)

// Tag is group and element: 0xGGGGEEEE.
type Tag uint32

// String returns the tag as in the standard: (0010,0020).
func (t Tag) String() string { return fmt.Sprintf("(%04X,%04X)", uint32(t)>>16, uint32(t)&0xFFFF) }

func (t Tag) group() uint16 { return uint16(t >> 16) }

// vr returns the value representation that the dictionary knows for the tag; UN for private and unknown ones.
func (t Tag) vr() VR {
	info, err := tag.Find(tag.Tag{Group: t.group(), Element: uint16(t)})
	if err != nil || len(info.VRs) == 0 || len(info.VRs[0]) != 2 {
		return vrUN
	}
	return vrOf(info.VRs[0][0], info.VRs[0][1])
}

// VR is a value representation: two letters.
type VR uint16

func vrOf(a, b byte) VR { return VR(a)<<8 | VR(b) }

// String returns the two letters.
func (v VR) String() string { return string([]byte{byte(v >> 8), byte(v)}) }

const (
	vrSQ = VR('S')<<8 | 'Q'
	vrUN = VR('U')<<8 | 'N'
	vrOB = VR('O')<<8 | 'B'
	vrOW = VR('O')<<8 | 'W'
	vrUI = VR('U')<<8 | 'I'
)

// encoding says how an explicit VR is written: with a 16-bit or, after two reserved bytes, a 32-bit length.
func (v VR) encoding() (long, known bool) {
	switch v.String() {
	case "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US":
		return false, true
	case "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV":
		return true, true
	}
	return false, false
}

// textual tells whether values of this representation are characters.
func (v VR) textual() bool {
	switch v.String() {
	case "AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT":
		return true
	}
	return false
}

// The attributes that Noctua reads or writes, beside those that only WriteOP knows.
const (
	tagItem          Tag = 0xFFFEE000
	tagItemEnd       Tag = 0xFFFEE00D
	tagSequenceEnd   Tag = 0xFFFEE0DD
	tagMetaClass     Tag = 0x00020002
	tagMetaInstance  Tag = 0x00020003
	tagTransfer      Tag = 0x00020010
	tagCharacterSet  Tag = 0x00080005
	tagImageType     Tag = 0x00080008
	tagSOPClass      Tag = 0x00080016
	tagSOPUID        Tag = 0x00080018
	tagStudyDate     Tag = 0x00080020
	tagAcquiredDate  Tag = 0x00080022
	tagContentDate   Tag = 0x00080023
	tagAcquired      Tag = 0x0008002A
	tagAcquiredTime  Tag = 0x00080032
	tagContentTime   Tag = 0x00080033
	tagAccession     Tag = 0x00080050
	tagModality      Tag = 0x00080060
	tagManufacturer  Tag = 0x00080070
	tagCodeValue     Tag = 0x00080100
	tagModel         Tag = 0x00081090
	tagRegion        Tag = 0x00082218
	tagPatientName   Tag = 0x00100010
	tagPatientID     Tag = 0x00100020
	tagIssuer        Tag = 0x00100021
	tagBirthDate     Tag = 0x00100030
	tagSex           Tag = 0x00100040
	tagSerial        Tag = 0x00181000
	tagSoftware      Tag = 0x00181020
	tagStudyUID      Tag = 0x0020000D
	tagSeriesUID     Tag = 0x0020000E
	tagLaterality    Tag = 0x00200060
	tagImageLat      Tag = 0x00200062
	tagHorizontalFOV Tag = 0x0022000C
	tagDeviceType    Tag = 0x00220015
	tagStereoPairs   Tag = 0x00220028
	tagSamples       Tag = 0x00280002
	tagPhotometric   Tag = 0x00280004
	tagPlanar        Tag = 0x00280006
	tagFrames        Tag = 0x00280008
	tagRows          Tag = 0x00280010
	tagColumns       Tag = 0x00280011
	tagSpacing       Tag = 0x00280030
	tagBitsAllocated Tag = 0x00280100
	tagBitsStored    Tag = 0x00280101
	tagHighBit       Tag = 0x00280102
	tagPixelRep      Tag = 0x00280103
	tagBurnedIn      Tag = 0x00280301
	tagRedLUT        Tag = 0x00281101 // descriptor; green and blue follow
	tagRedLUTData    Tag = 0x00281201
	tagRedSegments   Tag = 0x00281221
	tagDocument      Tag = 0x00420011
	tagZeissData     Tag = 0x04071005
	tagZeissData2    Tag = 0x04071006
	tagExtOffsets    Tag = 0x7FE00001
	tagPixelData     Tag = 0x7FE00010
)
