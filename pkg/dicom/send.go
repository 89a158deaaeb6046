package dicom

import (
	"bytes"
	"encoding/binary"
)

// Encoded is a Part 10 file taken apart for the network. Dataset shares the file's memory.
type Encoded struct {
	Class, Instance string // SOP class and instance UIDs, of group 2
	TransferSyntax  string
	Dataset         []byte // what follows group 2, as it is encoded
}

// TakeApart separates a Part 10 file's data set from its header (preamble and group 2). The data set is not looked into: it is meant for
// files that Noctua has written. Faults: Invalid with not-dicom, file-truncated or structure-malformed.
func TakeApart(file []byte) (Encoded, error) {
	if !IsPart10(file) {
		return Encoded{}, invalid(CodeNotDICOM, "the file has no DICOM header (128 bytes, then DICM)")
	}
	size := int64(len(file))
	p := &parser{window: window{reader: bytes.NewReader(file), size: size}, limits: Limits{}.orDefaults(), order: binary.LittleEndian}
	meta, start, err := p.meta(headerBytes)
	if err != nil {
		return Encoded{}, err
	}
	e := Encoded{Dataset: file[min(start, size):]}
	for t, uid := range map[Tag]*string{tagMetaClass: &e.Class, tagMetaInstance: &e.Instance, tagTransfer: &e.TransferSyntax} {
		if element := meta.Find(t); element != nil {
			*uid = uidAt(p.reader, element.Offset, element.Length)
		}
		if *uid == "" {
			return Encoded{}, invalid(CodeMalformed, "the file header does not say what the file holds: %s is missing or no UID", t)
		}
	}
	return e, nil
}
