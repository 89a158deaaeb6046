package dimse

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzCommand: whatever is read as a request is answered with a command set that can be read.
func FuzzCommand(f *testing.F) {
	le := binary.LittleEndian
	element := func(number uint16, value ...byte) []byte {
		return append(le.AppendUint32(le.AppendUint16([]byte{0, 0}, number), uint32(len(value))), value...)
	}
	request := bytes.Join([][]byte{element(elementGroupLength, 90, 0, 0, 0), element(elementClass, []byte("1.2.840.10008.1.1\x00")...), element(elementField, 1, 0),
		element(elementMessageID, 7, 0), element(elementDataSetType, 0, 0), element(elementInstance, []byte("1.2.3\x00")...)}, nil)
	f.Add(request, uint16(0xA700), "no room")
	f.Add(request[:40], uint16(0), "")
	f.Add(bytes.Join([][]byte{element(elementField, 0x30, 0), element(elementMessageID, 1, 0), element(elementDataSetType, 1, 1)}, nil), uint16(0), "")
	f.Add(element(elementField, 1, 0, 0, 0), uint16(0), "")
	f.Fuzz(func(t *testing.T, raw []byte, status uint16, comment string) {
		c, err := parseCommand(raw)
		if err != nil {
			return
		}
		answer := c.response(Response{Status(status), comment})
		read, err := parseCommand(answer)
		if err != nil {
			t.Fatalf("the answer % X cannot be read: %v", answer, err)
		}
		if read.field != c.field|commandResponse || read.hasDataSet || len(answer)%2 != 0 || le.Uint32(answer[8:]) != uint32(len(answer)-12) {
			t.Errorf("%+v is answered with % X", c, answer)
		}
		if validUID(c.class) && read.class != c.class || validUID(c.instance) && read.instance != c.instance {
			t.Errorf("%+v is answered with %+v", c, read)
		}
	})
}
