package app

import (
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
)

// patientCommand says who patients are.
type patientCommand struct {
	Merge patientMergeCommand `cmd:"" help:"Say that a patient is another one: all studies of the first, also those to come, are of the second."`
	Split patientSplitCommand `cmd:"" help:"Say that one study is of another patient."`
	Undo  patientUndoCommand  `cmd:"" help:"Let a decision count no more."`
	Links patientLinksCommand `cmd:"" help:"List what was decided about patients."`
}

// whyFlags are what every decision needs.
type whyFlags struct {
	clientFlags `embed:""`
	Clinic      string `help:"The clinic whose patients they are." required:"" placeholder:"CLINIC"`
	Reason      string `help:"Why; it is kept." required:""`
	By          string `help:"Who decides; by default the user of this machine."`
}

// decided is a decision as the API shows it.
type decided struct {
	Number    int                     `json:"number"`
	Clinic    string                  `json:"clinic"`
	Patient   string                  `json:"patient"`
	Action    string                  `json:"action"`
	StudyUID  string                  `json:"study_uid"`
	Into      *record.PatientIdentity `json:"into"`
	Undoes    int                     `json:"undoes"`
	By        string                  `json:"by"`
	Reason    string                  `json:"reason"`
	DecidedAt time.Time               `json:"decided_at"`
}

// patient names a patient; an issuer that was not given is any.
func (f whyFlags) patient(id string, issuer *string) map[string]any {
	p := map[string]any{"clinic": f.Clinic, "id": id}
	if issuer != nil {
		p["issuer"] = *issuer
	}
	return p
}

func (f whyFlags) decide(inv *invocation, action string, body map[string]any) error {
	var err error
	if f.By, err = whoDecides(f.By); err != nil {
		return err
	}
	noctua, err := f.connect()
	if err != nil {
		return err
	}
	body["by"], body["reason"] = f.By, f.Reason
	var answer decided
	if err := noctua.call(inv.ctx, http.MethodPost, "/api/patients/"+action, body, &answer); err != nil {
		return err
	}
	_, err = fmt.Fprintf(inv.out, "Decision %d about the patient %s; the reports are amended in a moment.\n", answer.Number, answer.Patient)
	return err
}

type patientMergeCommand struct {
	whyFlags   `embed:""`
	Issuer     *string `help:"Issuer of the first ID, where several patients have it." placeholder:"ISSUER"`
	IntoIssuer *string `help:"Issuer of the second ID, where several patients have it." placeholder:"ISSUER"`
	ID         string  `arg:"" help:"PatientID that is no patient of its own."`
	Into       string  `arg:"" help:"PatientID of the patient."`
}

// Run joins two patients.
func (c *patientMergeCommand) Run(inv *invocation) error {
	return c.decide(inv, "merge", map[string]any{"patient": c.patient(c.ID, c.Issuer), "into": c.patient(c.Into, c.IntoIssuer)})
}

type patientSplitCommand struct {
	whyFlags   `embed:""`
	IntoIssuer *string `help:"Issuer of the ID." placeholder:"ISSUER"`
	Report     string  `arg:"" help:"Id of the study's report."`
	Into       string  `arg:"" help:"PatientID of the patient, who need not have been seen yet."`
}

// Run gives a study to another patient.
func (c *patientSplitCommand) Run(inv *invocation) error {
	return c.decide(inv, "split", map[string]any{"study": c.Report, "into": c.patient(c.Into, c.IntoIssuer)})
}

type patientUndoCommand struct {
	whyFlags `embed:""`
	Patient  string `arg:"" help:"The patient, as noctua patient links shows it."`
	Number   int    `arg:"" help:"Number of the decision."`
}

// Run undoes a decision.
func (c *patientUndoCommand) Run(inv *invocation) error {
	return c.decide(inv, "undo", map[string]any{"patient": c.patient(c.Patient, nil), "undoes": c.Number})
}

type patientLinksCommand struct {
	clientFlags `embed:""`
}

// Run lists the decisions, the newest first.
func (c *patientLinksCommand) Run(inv *invocation) error {
	noctua, err := c.connect()
	if err != nil {
		return err
	}
	var answer struct {
		Links []decided `json:"links"`
	}
	if err := noctua.call(inv.ctx, http.MethodGet, "/api/patients/links?count=1000", nil, &answer); err != nil {
		return err
	}
	table := tabwriter.NewWriter(inv.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "PATIENT\tNUMBER\tCLINIC\tDECISION\tBY\tWHEN\tWHY") // errors come out at Flush
	for _, d := range answer.Links {
		what := d.Action
		switch {
		case d.Into != nil && d.StudyUID != "":
			what = fmt.Sprintf("study %s is of %s", d.StudyUID, d.Into.ID)
		case d.Into != nil:
			what = "is " + d.Into.ID
		case d.Undoes > 0:
			what = fmt.Sprintf("undoes %d", d.Undoes)
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", d.Patient, d.Number, d.Clinic, what, d.By, d.DecidedAt.Local().Format("2006-01-02 15:04"), d.Reason)
	}
	return table.Flush()
}
