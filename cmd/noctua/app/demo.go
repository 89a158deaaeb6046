package app

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/noctua-screening/noctua/pkg/dicom"
	"github.com/noctua-screening/noctua/pkg/dicom/pixel"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/phantom"
	"github.com/noctua-screening/noctua/pkg/record"
)

// demoCommand drops synthetic patients into a running Noctua, so that a newcomer sees every kind of outcome.
type demoCommand struct {
	clientFlags `embed:""`
	Clinic      string `help:"Clinic that the files come from." default:"demo"`
	Patients    int    `help:"Number of patients." default:"8"`
	Seed        uint64 `help:"The same seed draws the same patients again." default:"1"`
	Out         string `help:"Write the DICOM files to this folder instead of uploading them." placeholder:"DIR"`
}

const demoJPEGQuality = 92

// Run draws the night and uploads it.
func (c *demoCommand) Run(inv *invocation) (err error) {
	shots, err := phantom.Night(c.Seed, c.Patients, time.Now())
	if err != nil {
		return err
	}
	folder := c.Out
	var noctua *client
	if folder == "" {
		if noctua, err = c.connect(); err != nil {
			return err
		}
		if _, err = noctua.status(inv.ctx); err != nil { // before a minute of drawing
			return err
		}
		if folder, err = os.MkdirTemp("", "noctua-demo-"); err != nil {
			return fmt.Errorf("making a folder for the pictures: %w", err)
		}
		defer func() { _ = os.RemoveAll(folder) }() // synthetic pictures alone
	} else if err := os.MkdirAll(folder, 0o755); err != nil {
		return fault.Wrap(fault.Invalid, "output-unwritable", err, "the folder %s cannot be made", folder)
	}
	if err := drawNight(inv, shots, folder); err != nil {
		return err
	}
	if c.Out != "" {
		_, err = fmt.Fprintf(inv.out, "%d synthetic pictures of %d patients are in %s.\n", len(shots), c.Patients, folder)
		return err
	}
	files, err := collect([]string{folder})
	if err != nil {
		return err
	}
	if _, err := noctua.upload(inv.ctx, inv.err, c.Clinic, 4, files); err != nil {
		return err
	}
	_, err = fmt.Fprintf(inv.out, "%d synthetic pictures of %d patients are on their way. Watch them at %s, or with: noctua status --wait\n", len(shots), c.Patients, noctua.base)
	return err
}

// drawNight writes a DICOM file a shot.
func drawNight(inv *invocation, shots []phantom.Shot, folder string) error {
	bar := pictureBar(inv.err, "drawing", len(shots))
	for _, shot := range shots {
		if err := inv.ctx.Err(); err != nil {
			return err
		}
		object, err := dicomOf(shot)
		if err != nil {
			return fmt.Errorf("drawing %s: %w", shot.File, err)
		}
		if err := os.WriteFile(filepath.Join(folder, shot.File), object, 0o644); err != nil {
			return fault.Wrap(fault.Invalid, "output-unwritable", err, "%s cannot be written", shot.File)
		}
		_ = bar.Add(1) // only a picture
	}
	return nil
}

// dicomOf draws a shot and wraps it as DICOM. A shot that is sent twice gives the same bytes twice.
func dicomOf(shot phantom.Shot) ([]byte, error) {
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
	var object bytes.Buffer
	err = dicom.WriteOP(&object, dicom.FundusAttributes{
		PatientID: shot.Person.ID, Issuer: "NOCTUA-DEMO", PatientName: shot.Person.Name, BirthDate: shot.Person.BirthDate,
		Sex: record.Sex(shot.Person.Sex), Laterality: laterality, AcquiredAt: shot.AcquiredAt, Instance: shot.Instance,
		HorizontalFOVDeg: shot.Options.FOVDeg,
		Device:           record.AcquisitionDevice{Manufacturer: "Noctua phantom", Model: shot.Camera, Serial: shot.Serial},
	}, jpeg)
	return object.Bytes(), err
}
