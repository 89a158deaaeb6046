package dicom

import (
	"bytes"
	"compress/flate"
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

// FileIdentity is what tells the object of a Part 10 file apart. A UID that cannot be found, or is none, is "".
type FileIdentity struct{ Class, Instance, Study string }

// Bounds of IdentityOfFile.
const (
	// fileIdentityElements may precede StudyInstanceUID, items of sequences included; each costs about 100 bytes.
	fileIdentityElements = 10_000
	// fileIdentityInflated is how much is inflated of a file that is compressed as a whole.
	fileIdentityInflated = 1 << 20
)

// IdentityOfFile reads SOP class, SOP instance and study UID off the start of a Part 10 file of size bytes, without looking at the
// rest: it does not tell whether the file is sound. Group 2 counts only for what the data set does not say. It takes some megabytes
// at most, whatever the file holds.
func IdentityOfFile(reader io.ReaderAt, size int64) FileIdentity {
	p := &parser{window: window{reader: reader, size: size}, limits: Limits{MaxElements: fileIdentityElements}.orDefaults(), order: binary.LittleEndian}
	if size < headerBytes {
		return FileIdentity{}
	}
	if head, err := p.at(0, headerBytes); err != nil || !IsPart10(head) {
		return FileIdentity{}
	}
	meta, start, err := p.meta(headerBytes)
	if err != nil {
		return FileIdentity{}
	}
	var id FileIdentity
	var syntaxUID string
	for t, uid := range map[Tag]*string{tagMetaClass: &id.Class, tagMetaInstance: &id.Instance, tagTransfer: &syntaxUID} {
		if e := meta.Find(t); e != nil {
			*uid = uidAt(reader, e.Offset, e.Length)
		}
	}
	encoding, _ := syntaxOf(syntaxUID) // unknown ones are Explicit VR Little Endian (PS3.5, 10)
	p.order = (&File{syntax: encoding}).order()
	if encoding.deflated {
		// What could be inflated counts, even if it breaks off.
		head, _ := io.ReadAll(io.LimitReader(flate.NewReader(io.NewSectionReader(reader, start, size-start)), fileIdentityInflated))
		p.window, start = window{reader: bytes.NewReader(head), size: int64(len(head))}, 0
	}
	p.identify(&id, start, encoding.implicit)
	return id
}

// identify walks through the data set's elements up to StudyInstanceUID.
func (p *parser) identify(id *FileIdentity, pos int64, implicit bool) {
	for pos < p.size {
		h, err := p.header(pos, p.size, implicit)
		if err != nil || h.tag > tagStudyUID {
			return
		}
		e := Element{Tag: h.tag, VR: h.vr, Offset: h.value, Length: h.length}
		if h.length == undefined {
			if h.vr != vrSQ && h.vr != vrUN || p.sequence(&e, p.size, implicit || h.vr == vrUN, 1) != nil {
				return
			}
		}
		var uid *string
		switch e.Tag {
		case tagSOPClass:
			uid = &id.Class
		case tagSOPUID:
			uid = &id.Instance
		case tagStudyUID:
			uid = &id.Study
		default: // not looked at
		}
		if uid != nil {
			if found := uidAt(p.reader, e.Offset, e.Length); found != "" {
				*uid = found
			}
		}
		pos = e.Offset + e.Length
	}
}

// uidAt reads a UID; "" if there is none.
func uidAt(reader io.ReaderAt, offset, length int64) string {
	if length > maxUIDBytes {
		return ""
	}
	raw := make([]byte, length)
	if readAt(reader, raw, offset) != nil {
		return ""
	}
	if uid := string(bytes.TrimRight(raw, "\x00 ")); validUID(uid) {
		return uid
	}
	return ""
}
