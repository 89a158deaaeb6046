package dicom_test

import (
	"bytes"
	"fmt"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/dicomtest"
	"github.com/noctua-screening/noctua/pkg/fault"
)

func ExampleOpen() {
	data := dicomtest.Native().Encode(false) // or an *os.File and its size
	file, err := dicom.Open(bytes.NewReader(data), int64(len(data)), dicom.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	instance, err := file.Describe()
	if err != nil {
		fmt.Println(err)
		return
	}
	picture, _, err := file.Decode()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(instance.Patient.Name, instance.Laterality, picture.Width, picture.Height)
	// Output: Müller^Zoë R 4 3
}

func ExampleOpen_refused() {
	data := dicomtest.Native().Encode(false)
	_, err := dicom.Open(bytes.NewReader(data), int64(len(data)-1), dicom.Limits{})
	fmt.Println(fault.CodeOf(err))
	// Output: file-truncated
}
