package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/record"
)

// quarantineCommand deals with files that need a person.
type quarantineCommand struct {
	List    quarantineListCommand    `cmd:"" help:"List the files in quarantine that need a person."`
	Show    quarantineShowCommand    `cmd:"" help:"Show what is wrong with a file, what to do, and what was decided about it."`
	Release quarantineReleaseCommand `cmd:"" help:"Let files in, with the clinic, the eye or the patient's ID assigned, or try again as they are."`
	Discard quarantineDiscardCommand `cmd:"" help:"Take files off the list that nobody needs. Their bytes are kept."`
}

// quarantined is a file in quarantine as the API shows it.
type quarantined struct {
	ID    string `json:"id"`
	State string `json:"state"`
	record.Quarantine
	History []struct {
		Action     string             `json:"action"`
		Correction *record.Correction `json:"correction"`
		By         string             `json:"by"`
		Reason     string             `json:"reason"`
		At         time.Time          `json:"at"`
		Result     string             `json:"result"`
		Code       string             `json:"code"`
	} `json:"history"`
}

type quarantineListCommand struct {
	clientFlags `embed:""`
	State       string `help:"Which files: open (they need a person), releasing, released, discarded or all." default:"open" enum:"open,releasing,released,discarded,all"`
	JSON        bool   `help:"Print JSON, a file a line."`
}

// Run prints the files, the newest first.
func (c *quarantineListCommand) Run(inv *invocation) error {
	noctua, err := c.connect()
	if err != nil {
		return err
	}
	const page = 200
	table := tabwriter.NewWriter(inv.out, 0, 0, 2, ' ', 0)
	lines := json.NewEncoder(inv.out)
	for offset := 0; ; offset += page {
		var answer struct {
			Total int               `json:"total"`
			Files []json.RawMessage `json:"files"`
		}
		query := url.Values{"state": {c.State}, "count": {strconv.Itoa(page)}, "offset": {strconv.Itoa(offset)}}
		if err := noctua.call(inv.ctx, http.MethodGet, "/api/quarantine?"+query.Encode(), nil, &answer); err != nil {
			return err
		}
		for _, raw := range answer.Files {
			if c.JSON {
				if err := lines.Encode(raw); err != nil {
					return err
				}
				continue
			}
			var f quarantined
			if err := json.Unmarshal(raw, &f); err != nil {
				return fault.Wrap(fault.Internal, "answer-unreadable", err, "%s did not answer as a Noctua does", noctua.base)
			}
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.ID, f.State, f.Code, f.Reason) // errors come out at Flush
		}
		if len(answer.Files) < page {
			return table.Flush()
		}
	}
}

type quarantineShowCommand struct {
	clientFlags `embed:""`
	JSON        bool   `help:"Print JSON."`
	ID          string `arg:"" help:"Id, as noctua quarantine list shows it."`
}

// Run prints one file.
func (c *quarantineShowCommand) Run(inv *invocation) error {
	noctua, err := c.connect()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := noctua.call(inv.ctx, http.MethodGet, "/api/quarantine/"+escapeID(c.ID), nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(inv.out).Encode(raw)
	}
	var f quarantined
	if err := json.Unmarshal(raw, &f); err != nil {
		return fault.Wrap(fault.Internal, "answer-unreadable", err, "%s did not answer as a Noctua does", noctua.base)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nWhat to do: %s\n\n", f.Reason, f.Action)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(table, "%s\t%s\n", name, value) // into memory
		}
	}
	line("id", f.ID)
	line("state", f.State)
	line("code", f.Code)
	line("file", f.InboxKey)
	line("in the ZIP", f.Member)
	line("clinic", f.Clinic)
	line("received", f.ReceivedAt.Local().Format("2006-01-02 15:04:05"))
	line("size", fmt.Sprintf("%d bytes", f.SizeBytes))
	line("study", f.StudyUID)
	if p := f.Patient; p != nil {
		line("patient", strings.TrimSpace(p.ID+" "+p.Name+" "+p.BirthDate))
	}
	line("picture", noctua.base+"/quarantine/"+escapeID(f.ID))
	_ = table.Flush() // into memory
	for _, h := range f.History {
		fmt.Fprintf(&b, "\n%s  %s by %s: %s", h.At.Local().Format("2006-01-02 15:04:05"), h.Action, h.By, h.Reason)
		if h.Correction != nil {
			fmt.Fprintf(&b, "  [%s]", h.Correction)
		}
		if h.Result != "" {
			fmt.Fprintf(&b, "  → %s", strings.TrimSpace(h.Result+" "+h.Code))
		}
	}
	if len(f.History) > 0 {
		b.WriteByte('\n')
	}
	_, err = fmt.Fprint(inv.out, b.String())
	return err
}

// escapeID makes an id part of an address; its slashes stay.
func escapeID(id string) string { return strings.ReplaceAll(url.PathEscape(id), "%2F", "/") }

// rulingFlags are what every decision needs.
type rulingFlags struct {
	clientFlags `embed:""`
	Reason      string   `help:"Why; it is kept with the file." required:""`
	By          string   `help:"Who decides; by default the user of this machine."`
	IDs         []string `arg:"" name:"id" help:"Ids, as noctua quarantine list shows them."`
}

// maxRulingsPerAsk files are decided about in one request, so that it ends well within its time limit.
const maxRulingsPerAsk = 50

// whoDecides is by, or else the user of this machine.
func whoDecides(by string) (string, error) {
	if by != "" {
		return by, nil
	}
	self, err := user.Current()
	if err != nil {
		return "", usageError{fmt.Errorf("the user of this machine is unknown; say with --by who decides: %w", err)}
	}
	return self.Username, nil
}

// rule sends a decision about every file and prints what came of it.
func (f rulingFlags) rule(inv *invocation, action string, correction *record.Correction) error {
	var err error
	if f.By, err = whoDecides(f.By); err != nil {
		return err
	}
	noctua, err := f.connect()
	if err != nil {
		return err
	}
	failed := 0
	for start := 0; start < len(f.IDs); start += maxRulingsPerAsk {
		var answer struct {
			Files []struct {
				ID    string `json:"id"`
				State string `json:"state"`
				Error *struct {
					Code    string `json:"code"`
					Message string `json:"message"`
				} `json:"error"`
			} `json:"files"`
		}
		body := map[string]any{"ids": f.IDs[start:min(start+maxRulingsPerAsk, len(f.IDs))], "by": f.By, "reason": f.Reason}
		if correction != nil {
			body["correction"] = correction
		}
		if err := noctua.call(inv.ctx, http.MethodPost, "/api/quarantine/"+action, body, &answer); err != nil {
			return err
		}
		for _, file := range answer.Files {
			text := file.State
			if file.Error != nil {
				failed++
				text = file.Error.Message + " [" + file.Error.Code + "]"
			}
			if _, err := fmt.Fprintf(inv.out, "%s  %s\n", file.ID, text); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return fault.New(fault.Invalid, "decision-refused", "%d of %d files stay as they were", failed, len(f.IDs))
	}
	return nil
}

type quarantineReleaseCommand struct {
	rulingFlags `embed:""`
	Laterality  string `help:"Assign the eye: R (right, OD) or L (left, OS)." enum:"R,L,," default:""`
	PatientID   string `name:"patient-id" help:"Assign the patient's ID."`
	Issuer      string `help:"Assign who issued the patient's ID."`
	Clinic      string `help:"Assign the clinic of a file that came without one."`
}

// Run releases the files.
func (c *quarantineReleaseCommand) Run(inv *invocation) error {
	var correction *record.Correction
	if given := (record.Correction{Laterality: record.Laterality(c.Laterality), PatientID: c.PatientID, Issuer: c.Issuer, Clinic: c.Clinic}); given != (record.Correction{}) {
		correction = &given
	}
	return c.rule(inv, "release", correction)
}

type quarantineDiscardCommand struct {
	rulingFlags `embed:""`
}

// Run discards the files.
func (c *quarantineDiscardCommand) Run(inv *invocation) error { return c.rule(inv, "discard", nil) }
