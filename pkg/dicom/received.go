package dicom

import (
	"bytes"
	"encoding/binary"
	"io"
)

// ImplementationVersion is Noctua's name in (0002,0013). It has no number: the same object, received again by a later
// version, must become the same bytes.
const ImplementationVersion = "NOCTUA"

// FileHeader makes what precedes a data set in a Part 10 file: an empty preamble, the magic word and group 2. class and
// instance are the data set's SOP class and instance UIDs, syntax is how it is encoded; each should have at most 64 digits and
// dots. Same arguments, same bytes.
func FileHeader(class, instance, syntax string) []byte {
	var meta []byte
	meta = appendMeta(meta, 0x0001, "OB", []byte{0, 1})
	meta = appendMeta(meta, 0x0002, "UI", []byte(class))
	meta = appendMeta(meta, 0x0003, "UI", []byte(instance))
	meta = appendMeta(meta, 0x0010, "UI", []byte(syntax))
	meta = appendMeta(meta, 0x0012, "UI", []byte(ImplementationUID))
	meta = appendMeta(meta, 0x0013, "SH", []byte(ImplementationVersion))
	header := append(make([]byte, preambleBytes), "DICM"...)
	header = appendMeta(header, 0x0000, "UL", binary.LittleEndian.AppendUint32(nil, uint32(len(meta))))
	return append(header, meta...)
}

// appendMeta appends an element of group 2.
func appendMeta(b []byte, element uint16, vr string, value []byte) []byte {
	if len(value)%2 == 1 {
		padding := byte(' ')
		if vr == "UI" {
			padding = 0
		}
		value = append(value, padding)
	}
	le := binary.LittleEndian
	b = append(le.AppendUint16(le.AppendUint16(b, 0x0002), element), vr...)
	if vr == "OB" {
		b = le.AppendUint32(append(b, 0, 0), uint32(len(value)))
	} else {
		b = le.AppendUint16(b, uint16(len(value)))
	}
	return append(b, value...)
}

// identityElements is how many elements may precede SOPInstanceUID in a data set; real ones have up to about ten.
const identityElements = 100

// Identity reads SOP class and instance UID off the start of a data set that lies between offset and size of reader, without
// looking at the rest. A UID that cannot be found is "": the data set is damaged, breaks the order of its elements, or is
// deflated.
func Identity(reader io.ReaderAt, offset, size int64, syntax string) (class, instance string) {
	encoding, _ := syntaxOf(syntax) // unknown ones are Explicit VR Little Endian (PS3.5, 10)
	if encoding.deflated {
		return "", ""
	}
	order := (&File{syntax: encoding}).order()
	p := &parser{window: window{reader: reader, size: size}, limits: Limits{MaxElements: identityElements}, order: order}
	for offset < size {
		h, err := p.header(offset, size, encoding.implicit)
		if err != nil || h.length == undefined || h.tag > tagSOPUID {
			break
		}
		if (h.tag == tagSOPClass || h.tag == tagSOPUID) && h.length <= maxUIDBytes {
			raw := make([]byte, h.length)
			if readAt(reader, raw, h.value) != nil {
				break
			}
			uid := string(bytes.TrimRight(raw, "\x00 "))
			if h.tag == tagSOPClass {
				class = uid
			} else {
				instance = uid
			}
		}
		offset = h.value + h.length
	}
	return class, instance
}
