package app

import (
	"bytes"
	"strings"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/record"
)

const (
	demoJPEGQuality = 92
	// enFaceClass is Ophthalmic Optical Coherence Tomography En Face Image Storage, which is no photograph (PS3.4 B.5). It is as long as the class of
	// fundus photographs.
	enFaceClass = "1.2.840.10008.5.1.4.1.1.77.1.5.7"
	demoLetter  = "Dear colleagues, this letter was saved in the folder of the pictures.\n"
)

// demoFile draws a shot and wraps it as DICOM, with the mishap that befell it. A shot that is sent twice gives the same bytes twice.
func demoFile(shot phantom.Shot) ([]byte, error) {
	if shot.Mishap == phantom.NotDICOM {
		return []byte(demoLetter), nil
	}
	photograph, err := shot.Draw()
	if err != nil {
		return nil, err
	}
	jpeg, err := pixel.EncodeJPEG(photograph.Picture, demoJPEGQuality)
	if err != nil {
		return nil, err
	}
	laterality := map[phantom.Eye]record.Laterality{phantom.Right: record.RightEye, phantom.Left: record.LeftEye}[shot.Eye]
	if shot.Mishap == phantom.LateralityMissing {
		laterality = ""
	}
	var out bytes.Buffer
	err = dicom.WriteOP(&out, dicom.FundusAttributes{
		PatientID: shot.Person.ID, Issuer: "NOCTUA-DEMO", PatientName: shot.Person.Name, BirthDate: shot.Person.BirthDate,
		Sex: record.Sex(shot.Person.Sex), Laterality: laterality, AcquiredAt: shot.AcquiredAt, Instance: shot.Instance,
		HorizontalFOVDeg: shot.Options.FOVDeg,
		Device:           record.AcquisitionDevice{Manufacturer: "Noctua phantom", Model: shot.Camera, Serial: shot.Serial},
	}, jpeg)
	if err != nil {
		return nil, err
	}
	object := out.Bytes()
	switch shot.Mishap {
	case phantom.IDMissing: // blanks are no ID
		object = bytes.Replace(object, []byte(shot.Person.ID), []byte(strings.Repeat(" ", len(shot.Person.ID))), 1)
	case phantom.NotFundus:
		object = bytes.ReplaceAll(object, []byte(dicom.ClassOphthalmic8Bit), []byte(enFaceClass))
	case phantom.Truncated:
		const kept = .6 // of the file
		object = object[:int(kept*float64(len(object)))]
	case phantom.NoMishap, phantom.Ungradable, phantom.LateralityMissing, phantom.SentTwice, phantom.NotDICOM:
	}
	return object, nil
}
