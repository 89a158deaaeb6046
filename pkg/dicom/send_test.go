package dicom_test

import (
	"bytes"
	"testing"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func TestTakeApart(t *testing.T) {
	t.Parallel()
	dataset := []byte{0x08, 0, 0x16, 0, 'U', 'I', 4, 0, '1', '.', '2', 0}
	header := dicom.FileHeader("1.2", "1.2.3", dicom.ExplicitLittleEndian)
	e, err := dicom.TakeApart(append(bytes.Clone(header), dataset...))
	if err != nil || e.Class != "1.2" || e.Instance != "1.2.3" || e.TransferSyntax != dicom.ExplicitLittleEndian || !bytes.Equal(e.Dataset, dataset) {
		t.Errorf("%+v, %v", e, err)
	}
	for name, c := range map[string]struct {
		file []byte
		code string
	}{
		"nothing":     {nil, dicom.CodeNotDICOM},
		"a data set":  {dataset, dicom.CodeNotDICOM},
		"cut off":     {header[:len(header)-3], dicom.CodeTruncated},
		"no instance": {append(bytes.Clone(dicom.FileHeader("1.2", "", dicom.ExplicitLittleEndian)), dataset...), dicom.CodeMalformed},
		"no class":    {append(bytes.Clone(dicom.FileHeader("OP", "1.2.3", dicom.ExplicitLittleEndian)), dataset...), dicom.CodeMalformed},
	} {
		if _, err := dicom.TakeApart(c.file); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}
