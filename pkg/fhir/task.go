package fhir

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// Task is the FHIR resource: a file in quarantine, for a person to see to.
type Task struct {
	ResourceType string       `json:"resourceType"`
	ID           string       `json:"id"`
	Meta         Meta         `json:"meta"`
	Identifier   []Identifier `json:"identifier"`
	Status       string       `json:"status"`
	Intent       string       `json:"intent"`
	Priority     string       `json:"priority"`
	Code         Concept      `json:"code"`
	Description  string       `json:"description"`
	Focus        *Reference   `json:"focus,omitempty"`
	For          *Reference   `json:"for,omitempty"`
	AuthoredOn   string       `json:"authoredOn"`
	LastModified string       `json:"lastModified"`
	Owner        *Reference   `json:"owner,omitempty"`
	ReasonCode   *Concept     `json:"reasonCode,omitempty"`
	Note         []TaskNote   `json:"note,omitempty"`
	Input        []TaskInput  `json:"input,omitempty"`
}

// TaskNote says what somebody decided.
type TaskNote struct {
	AuthorString string `json:"authorString,omitempty"`
	Time         string `json:"time,omitempty"`
	Text         string `json:"text"`
}

// TaskInput says of which file a Task is.
type TaskInput struct {
	Type            Concept     `json:"type"`
	ValueIdentifier *Identifier `json:"valueIdentifier,omitempty"`
}

// QuarantineSystem is the system of the keys of files in quarantine.
const QuarantineSystem = Root + "sid/quarantine"

// Statuses of a Task, of those that Noctua uses.
const (
	TaskRequested  = "requested"   // needs a person
	TaskInProgress = "in-progress" // a release is under way
	TaskCompleted  = "completed"   // the file has left quarantine
	TaskCancelled  = "cancelled"   // a person has decided that nobody needs it
)

// TaskStatuses are all of them.
func TaskStatuses() []string {
	return []string{TaskRequested, TaskInProgress, TaskCompleted, TaskCancelled}
}

// TaskCode is the code of every Task.
func TaskCode() Concept { return concept(MeasuresSystem, taskCode, taskDisplay) }

// taskShaDigits of a file's SHA-256 begin the id of its Task: by them it is found.
const taskShaDigits = 32

// TaskID is the id of the Task of a file in quarantine: deterministic, and without the clinic's name.
func TaskID(key string) string {
	const digits = 16
	sum := sha256.Sum256([]byte(key))
	file := key[strings.LastIndexByte(key, '/')+1:]
	return file[:min(taskShaDigits, len(file))] + "-" + hex.EncodeToString(sum[:])[:digits]
}

// ShaOfTask returns the first digits of the SHA-256 of the file that a Task is about, or "".
func ShaOfTask(id string) string {
	sha, rest, ok := strings.Cut(id, "-")
	if !ok || rest == "" || len(sha) != taskShaDigits || strings.Trim(sha, "0123456789abcdef") != "" {
		return ""
	}
	return sha
}

// Quarantined is a file in quarantine, as a Task shows it: up to one of the documents about it.
type Quarantined struct {
	Key      string // of the bytes
	Document record.Quarantine
	Status   string // one of TaskStatuses
	// Code, Reason and Action are of the last attempt to let the file in.
	Code, Reason, Action string
	Version              int       // number of documents about it
	At                   time.Time // of the last of them
	Notes                []TaskNote
}

// ConvertTask makes the Task of a file in quarantine. The patient is named by the identifier that the file claims, and refers to no
// Patient: whether it is theirs is often just what is in doubt.
func ConvertTask(q Quarantined) Task {
	reason := Concept{Coding: []Coding{{System: ReasonsSystem, Code: q.Code}}, Text: q.Reason}
	t := Task{
		ResourceType: "Task", ID: TaskID(q.Key), Meta: Meta{VersionID: strconv.Itoa(q.Version), LastUpdated: Instant(q.At)},
		Identifier: []Identifier{{System: QuarantineSystem, Value: q.Key}}, Status: q.Status, Intent: "order", Priority: "routine",
		Code: TaskCode(), Description: q.Action, ReasonCode: &reason,
		AuthoredOn: Instant(q.Document.ReceivedAt), LastModified: Instant(q.At), Note: q.Notes,
		Owner: &Reference{Identifier: &Identifier{System: ClinicSystem, Value: q.Document.Clinic}, Display: q.Document.Clinic},
		Input: []TaskInput{{Type: Concept{Text: "SHA-256 of the file"}, ValueIdentifier: &Identifier{System: ContentSystem, Value: q.Document.Sha256}}},
	}
	t.Code.Coding = append(t.Code.Coding, reason.Coding...)
	if uid := q.Document.SOPUID; uid != "" {
		t.Input = append(t.Input, TaskInput{Type: Concept{Text: "SOP instance"}, ValueIdentifier: &Identifier{System: dicomSystem, Value: "urn:oid:" + uid}})
	}
	if uid := q.Document.StudyUID; uid != "" {
		t.Focus = &Reference{Type: "ImagingStudy", Identifier: &Identifier{System: dicomSystem, Value: "urn:oid:" + uid}}
	}
	if p := q.Document.Patient; p != nil && strings.TrimSpace(p.ID) != "" {
		t.For = &Reference{Type: "Patient", Identifier: &Identifier{System: IssuerSystem(q.Document.Clinic, p.Issuer), Value: p.ID}}
		if names := names(p.Name); len(names) > 0 {
			t.For.Display = names[0].Text
		}
	}
	return t
}
