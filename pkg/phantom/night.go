package phantom

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Mishap is what happened to a shot on its way, and so what a screening should make of it.
type Mishap string

// The mishaps.
const (
	NoMishap          Mishap = ""                   // ends in a report with measures
	Ungradable        Mishap = "ungradable"         // ends in a report as ungradable
	LateralityMissing Mishap = "laterality-missing" // the camera did not say which eye: ends in quarantine
	IDMissing         Mishap = "patient-id-missing" // the camera did not say whose eye: ends in quarantine
	Truncated         Mishap = "truncated"          // the file was cut off: ends in quarantine
	NotFundus         Mishap = "not-fundus"         // the file says that it is another kind of picture: ends in quarantine
	NotDICOM          Mishap = "not-dicom"          // a letter: ends in quarantine
	SentTwice         Mishap = "duplicate"          // the same file as an earlier one: ends as its duplicate
)

// Person is a patient who does not exist. Every ID begins with PHANTOM, and every family name means phantom.
type Person struct {
	ID        string
	Name      string // DICOM's component form: Family^Given, UTF-8
	Sex       string // F, M or O
	BirthDate time.Time
}

// Part of a night: what is of a later one belongs to it only once what is of an earlier one is in a report.
type Part int

// The parts.
const (
	Earlier Part = iota // the visits before, sent again by an archive
	Tonight
	Late // what comes when the report is final already
)

// Shot is one photograph of a night: what its DICOM file says, and how to draw it.
type Shot struct {
	Part       Part
	Clinic     int    // number of the clinic, from 0
	File       string // name for the file, unique within the night, without a folder
	Person     Person
	Eye        Eye
	AcquiredAt time.Time
	Instance   int    // number of the picture within its eye's series, from 1
	Camera     string // model's name
	Serial     string
	Options    Options // for Draw; where Mishap is SentTwice, those of the earlier shot
	Mishap     Mishap
}

// Draw makes the shot's photograph. Drawing is apart from planning so that a night needs memory for one picture at a time.
func (s Shot) Draw() (*Photograph, error) { return Draw(s.Options) }

const (
	maxPatients = 9999 // their IDs have four digits
	maxClinics  = 99
	openHours   = 9 * time.Hour
)

// visit is one of a patient's visits.
type visit struct {
	monthsAgo int
	lost      float64 // as Options.Lost
}

// history are the visits of patient number i, the last of them tonight. The first patient loses vessels; the others' eyes stay as they are.
func history(i int) []visit {
	switch i {
	case 0:
		return []visit{{18, 0}, {12, .05}, {6, .1}, {0, .75}}
	case 1, 2:
		return []visit{{9, 0}, {0, 0}}
	case 3:
		return []visit{{24, 0}, {12, 0}, {0, 0}}
	}
	return []visit{{0, 0}}
}

// Night plans the photographs of a day at several clinics, each patient's at one of them: for each visit of a patient the right and the left eye. The
// patients who tell most come first: one whose eyes lose vessels from visit to visit, one of whose right eye a second picture comes when the report is
// final, one whose left eye is ungradable (and one in five after that), one with three visits and no change. Beside them the night has a picture that
// does not say which eye it shows, one that does not say whose, a file that was cut off, one that is another kind of picture, one that is a letter, and
// one that is sent twice. day gives date and time zone; the first patient comes at 8:30.
func Night(seed uint64, patients, clinics int, day time.Time) ([]Shot, error) {
	if patients < 1 || patients > maxPatients {
		return nil, fault.New(fault.Invalid, "phantom-options", "A night has 1 to %d patients, but %d were asked for.", maxPatients, patients)
	}
	if clinics < 1 || clinics > maxClinics {
		return nil, fault.New(fault.Invalid, "phantom-options", "A night has 1 to %d clinics, but %d were asked for.", maxClinics, clinics)
	}
	random := rand.New(rand.NewPCG(seed, 3))
	year, month, date := day.Date()
	opening := time.Date(year, month, date, 8, 30, 0, 0, day.Location())
	slot := min(5*time.Minute, openHours/time.Duration(patients)) // a patient's time
	var parts [Late + 1][]Shot
	for i := range patients {
		person := newPerson(random, i, year)
		cam := cameras()[random.IntN(len(cameras()))]
		eyes := map[Eye]uint64{Right: random.Uint64(), Left: random.Uint64()}
		for _, v := range history(i) {
			taken := 0
			take := func(part Part, eye Eye, instance int, mishap Mishap) {
				o := Options{Seed: eyes[eye], Take: random.Uint64(), Lost: v.lost, Eye: eye, Width: cam.width, Height: cam.height, FOVDeg: cam.fovDeg}
				if mishap == Ungradable {
					o.Defect = [2]Defect{Dark, Blurred}[i%2]
				}
				taken++
				at := opening.AddDate(0, -v.monthsAgo, 0).Add(time.Duration(i)*slot + time.Duration(taken)*slot/5)
				name := fmt.Sprintf("%s-%s-%s%d.dcm", person.ID, at.Format("20060102"), eye, instance)
				if mishap == NotDICOM {
					name = fmt.Sprintf("%s-letter.txt", person.ID)
				}
				parts[part] = append(parts[part], Shot{
					Part: part, Clinic: i % clinics, File: name, Person: person, Eye: eye, AcquiredAt: at, Instance: instance,
					Camera: cam.model, Serial: cam.serial, Options: o, Mishap: mishap,
				})
			}
			if v.monthsAgo > 0 {
				take(Earlier, Right, 1, NoMishap)
				take(Earlier, Left, 1, NoMishap)
				continue
			}
			take(Tonight, Right, 1, NoMishap)
			left := NoMishap
			if i == 2 || i > 2 && i%5 == 0 {
				left = Ungradable
			}
			take(Tonight, Left, 1, left)
			if i == 1 {
				take(Late, Right, 2, NoMishap)
			}
			// What goes wrong goes wrong at the end of a visit, with a picture more.
			for n, mishap := range []Mishap{LateralityMissing, IDMissing, Truncated, NotFundus, NotDICOM} {
				if i == (4+n)%patients {
					take(Tonight, Right, 3+n, mishap)
				}
			}
		}
	}
	// The technician is not sure whether the first picture went out, and sends it again.
	again := parts[Tonight][0]
	again.File, again.Part, again.Mishap = "again-"+again.File, Late, SentTwice
	return append(append(parts[Earlier], parts[Tonight]...), append(parts[Late], again)...), nil
}

type camera struct {
	model, serial string
	width, height int // pixels
	fovDeg        float64
}

func cameras() []camera {
	return []camera{
		{"Phantom 45", "P45-0001", 1280, 960, 45},
		{"Phantom 30", "P30-0001", 999, 960, 30},
		{"Phantom 45 round", "P45-0002", 1024, 1024, 45},
	}
}

// newPerson makes up the patient number i. Names are in many scripts because patients' names are.
func newPerson(random *rand.Rand, i, year int) Person {
	names := []struct{ name, sex string }{
		{"Bóng Ma^Thị Ánh", "F"}, {"شبح^ليلى", "F"}, {"רוח^נועה", "F"}, {"Maboroshi^Akira=幻影^明", "M"}, {"Phantom^Ada", "F"}, {"Gespenst^Jürgen", "M"},
		{"Фантомова^Ольга", "F"}, {"Φάντασμα^Νίκος", "M"}, {"Fantôme^Zoé", "F"}, {"유령^하나", "F"}, {"Widmo^Łukasz", "M"}, {"Hayalet^Çağrı", "O"},
		{"Fantasma^Íñigo", "M"}, {"Spöke^Åsa", "F"},
	}
	n := names[i%len(names)]
	return Person{
		ID: fmt.Sprintf("PHANTOM-%04d", i+1), Name: n.name, Sex: n.sex,
		BirthDate: time.Date(year-25-random.IntN(60), time.Month(1+random.IntN(12)), 1+random.IntN(28), 0, 0, 0, 0, time.UTC),
	}
}
