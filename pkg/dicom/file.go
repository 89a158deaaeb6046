package dicom

import (
	"bytes"
	"encoding/binary"
	"io"
)

// File is the structure of a Part 10 file whose every length was checked. It keeps the reader and loads values when asked.
// It may be used by one goroutine at a time.
type File struct {
	Meta           *Dataset // group 2
	Data           *Dataset
	TransferSyntax string
	// PreambleUsed tells that the first 128 bytes are not zero: they may be a program's header.
	PreambleUsed bool

	limits Limits
	syntax syntax
	reader io.ReaderAt // of the bytes that elements' offsets count in: the file, or what it inflates to
	size   int64       // of the file
}

const (
	preambleBytes = 128
	headerBytes   = preambleBytes + 4
	// undefined is the length that means "until the delimiter".
	undefined = 0xFFFFFFFF
)

// IsPart10 tells whether a file that starts with head is a DICOM Part 10 file. head should hold at least 132 bytes.
func IsPart10(head []byte) bool {
	return len(head) >= headerBytes && string(head[preambleBytes:headerBytes]) == "DICM"
}

// Open walks through the structure of a Part 10 file of size bytes and checks all of it. Values are not loaded.
//
// Faults: Invalid or Unsupported with one of the codes not-dicom, file-truncated, structure-malformed, structure-too-deep,
// structure-too-large, inflated-too-large, element-repeated, encapsulation-malformed, transfer-syntax-unsupported; Transient
// file-unreadable if the reader fails.
func Open(reader io.ReaderAt, size int64, limits Limits) (*File, error) {
	f := &File{limits: limits.orDefaults(), reader: reader, size: size}
	p := &parser{window: window{reader: reader, size: size}, limits: f.limits, order: binary.LittleEndian}
	if size < headerBytes {
		return nil, invalid(CodeNotDICOM, "the file has %d bytes and so no DICOM header; export it as a DICOM Part 10 file", size)
	}
	head, err := p.at(0, headerBytes)
	if err != nil {
		return nil, err
	}
	if !IsPart10(head) {
		return nil, invalid(CodeNotDICOM, "the file has no DICOM header (128 bytes, then DICM); export it as a DICOM Part 10 file")
	}
	f.PreambleUsed = !bytes.Equal(head[:preambleBytes], make([]byte, preambleBytes))

	meta, pos, err := p.meta(headerBytes)
	if err != nil {
		return nil, err
	}
	f.Meta = meta
	if f.TransferSyntax, err = f.transferSyntax(); err != nil {
		return nil, err
	}
	p.encapsulated = f.syntax.codec != codecNone
	p.order = f.order()
	if f.syntax.deflated {
		all, err := inflate(reader, size, pos, f.limits.MaxInflatedBytes)
		if err != nil {
			return nil, err
		}
		f.reader = all
		p.window = window{reader: all, size: all.size}
	}
	if f.Data, err = p.dataset(pos, p.size, f.syntax.implicit); err != nil {
		return nil, err
	}
	return f, nil
}

// transferSyntax reads (0002,0010) and refuses what is not read here, before anything is parsed with the wrong rules.
func (f *File) transferSyntax() (string, error) {
	e := f.Meta.Find(tagTransfer)
	if e == nil || e.VR != vrUI || e.Length > 2*maxUIDBytes {
		return "", invalid(CodeMalformed, "the file does not say how it is encoded: %s is missing or malformed", tagTransfer)
	}
	raw, err := f.load(e)
	if err != nil {
		return "", err
	}
	// Trailing spaces are wrong in a UID, but unambiguous.
	uid := string(bytes.TrimRight(raw, "\x00 "))
	var known bool
	if f.syntax, known = syntaxOf(uid); known {
		return uid, nil
	}
	if !validUID(uid) {
		return "", invalid(CodeMalformed, "the file does not say how it is encoded: %s is not a UID", tagTransfer)
	}
	return "", unsupported(CodeTransferSyntax, "the file's transfer syntax %s is %s; send it as Explicit VR Little Endian or JPEG Baseline", uid, refusal(uid))
}

// Content returns the value that the file is about, as it is encoded: the pixel data, with all frames, or the document; nil if it has
// neither.
func (f *File) Content() io.Reader {
	for _, t := range []Tag{tagPixelData, tagDocument} {
		if e := f.Data.Find(t); e != nil && e.Length > 0 {
			return io.NewSectionReader(f.reader, e.Offset, e.Length)
		}
	}
	return nil
}

// order is the byte order of the data set; group 2 is always little-endian.
func (f *File) order() binary.ByteOrder {
	if f.syntax.bigEndian {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// load reads an element's value. The caller bounds e.Length.
func (f *File) load(e *Element) ([]byte, error) {
	raw := make([]byte, e.Length)
	return raw, readAt(f.reader, raw, e.Offset)
}
