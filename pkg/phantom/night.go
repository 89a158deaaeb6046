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
	SentTwice         Mishap = "duplicate"          // the same file as an earlier one: ends as its duplicate
)

// Person is a patient who does not exist. Every ID begins with PHANTOM, and every family name means phantom.
type Person struct {
	ID        string
	Name      string // DICOM's component form: Family^Given, UTF-8
	Sex       string // F, M or O
	BirthDate time.Time
}

// Shot is one photograph of a night: what its DICOM file says, and how to draw it.
type Shot struct {
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
	openHours   = 9 * time.Hour
)

// Night plans the photographs of a day's clinic: for each patient the right and the left eye; one patient in five has one
// ungradable picture; one picture of the night does not say which eye it shows, and one file is sent twice. So there
// are 2 · patients + 2 shots. day gives date and time zone; the first patient comes at 8:30.
func Night(seed uint64, patients int, day time.Time) ([]Shot, error) {
	if patients < 1 || patients > maxPatients {
		return nil, fault.New(fault.Invalid, "phantom-options", "A night has 1 to %d patients, but %d were asked for.", maxPatients, patients)
	}
	random := rand.New(rand.NewPCG(seed, 3))
	year, month, date := day.Date()
	opening := time.Date(year, month, date, 8, 30, 0, 0, day.Location())
	slot := min(5*time.Minute, openHours/time.Duration(patients)) // a patient's time
	nameless := random.IntN(patients)
	var shots []Shot
	for i := range patients {
		person := newPerson(random, i, year)
		cam := cameras()[random.IntN(len(cameras()))]
		ungradable := -1
		if i%5 == 1 {
			ungradable = random.IntN(2)
		}
		taken := 0
		take := func(eye Eye, instance int, mishap Mishap) {
			o := Options{Seed: random.Uint64(), Eye: eye, Width: cam.width, Height: cam.height, FOVDeg: cam.fovDeg}
			if mishap == Ungradable {
				o.Defect = [2]Defect{Dark, Blurred}[random.IntN(2)]
			}
			taken++
			at := opening.Add(time.Duration(i)*slot + time.Duration(taken)*slot/5)
			shots = append(shots, Shot{
				File: fmt.Sprintf("%s-%s%d.dcm", person.ID, eye, instance), Person: person, Eye: eye, AcquiredAt: at, Instance: instance,
				Camera: cam.model, Serial: cam.serial, Options: o, Mishap: mishap,
			})
		}
		for k, eye := range [2]Eye{Right, Left} {
			mishap := NoMishap
			if k == ungradable {
				mishap = Ungradable
			}
			take(eye, 1, mishap)
		}
		if i == nameless {
			take(Right, 2, LateralityMissing)
		}
	}
	// The technician is not sure whether the last good picture went out, and sends it again.
	for i := len(shots) - 1; i >= 0; i-- {
		if shots[i].Mishap == NoMishap {
			again := shots[i]
			again.File, again.Mishap = "again-"+again.File, SentTwice
			shots = append(shots, again)
			break
		}
	}
	return shots, nil
}

type camera struct {
	model, serial string
	width, height int // pixels
	fovDeg        float64
}

func cameras() []camera {
	return []camera{
		{"Phantom 45", "P45-0001", 1536, 1152, 45},
		{"Phantom 30", "P30-0001", 999, 960, 30},
		{"Phantom 45 round", "P45-0002", 1200, 1200, 45},
	}
}

// newPerson makes up the patient number i. Names are in many scripts because patients' names are.
func newPerson(random *rand.Rand, i, year int) Person {
	names := []struct{ name, sex string }{
		{"Phantom^Ada", "F"}, {"Gespenst^Jürgen", "M"}, {"Фантомова^Ольга", "F"}, {"Φάντασμα^Νίκος", "M"}, {"幻影^明", "M"}, {"Fantôme^Zoé", "F"},
		{"유령^하나", "F"}, {"Widmo^Łukasz", "M"}, {"شبح^ليلى", "F"}, {"Hayalet^Çağrı", "O"}, {"Fantasma^Íñigo", "M"}, {"Spöke^Åsa", "F"},
	}
	n := names[i%len(names)]
	return Person{
		ID: fmt.Sprintf("PHANTOM-%04d", i+1), Name: n.name, Sex: n.sex,
		BirthDate: time.Date(year-25-random.IntN(60), time.Month(1+random.IntN(12)), 1+random.IntN(28), 0, 0, 0, 0, time.UTC),
	}
}
