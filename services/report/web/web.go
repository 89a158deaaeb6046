package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"strconv"
	"time"
)

//go:embed templates/*.html
var templates embed.FS

//go:embed static/*
var static embed.FS

// Static are the style, script and picture files, by name.
func Static() (fs.FS, error) { return fs.Sub(static, "static") }

// Names of the pages.
const (
	Tonight     = "tonight"
	People      = "people" // the lists of patients of Tonight, alone
	Night       = "night"
	Nights      = "nights"
	Patients    = "patients"
	Patient     = "patient"
	Quarantine  = "quarantine"
	Quarantined = "quarantined"
	Sure        = "quarantinesure" // asks before many files are decided about
	SignIn      = "signin"
	Account     = "account"
	System      = "system"
	Failed      = "error"
)

// Pages renders the pages. It is safe for concurrent use.
type Pages struct {
	byName map[string]*template.Template
}

// New parses the templates. Times are shown in zone.
func New(zone *time.Location) (*Pages, error) {
	functions := template.FuncMap{
		"clock":  func(t time.Time) string { return t.In(zone).Format("15:04") },
		"second": func(t time.Time) string { return t.In(zone).Format("15:04:05") },
		"moment": func(t time.Time) string {
			return t.In(zone).Format("Mon 2 Jan 2006, 15:04")
		},
		"instant": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"short": func(s string) string {
			const digits = 12
			return s[:min(len(s), digits)]
		},
		"date":  func(t time.Time) string { return t.In(zone).Format("Mon 2 Jan 2006") },
		"month": func(t time.Time) string { return t.In(zone).Format("January 2006") },
		"group": group,
		"plural": func(n int, one, many string) string {
			if n == 1 {
				return one
			}
			return many
		},
	}
	maps.Copy(functions, patientFunctions())
	p := &Pages{byName: map[string]*template.Template{}}
	for _, name := range []string{Tonight, Night, Nights, Patients, Patient, Quarantine, Quarantined, Sure, SignIn, Account, System, Failed} {
		t, err := template.New("layout.html").Funcs(functions).ParseFS(templates, "templates/layout.html", "templates/nightparts.html", "templates/people.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", name, err)
		}
		p.byName[name] = t
	}
	t, err := template.New("people.html").Funcs(functions).ParseFS(templates, "templates/people.html", "templates/nightparts.html", "templates/layout.html")
	if err != nil {
		return nil, fmt.Errorf("parsing page %s: %w", People, err)
	}
	p.byName[People] = t
	return p, nil
}

// group writes a number with its thousands apart, by narrow spaces that do not break.
func group(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "\u202f" + text[at:]
	}
	return text
}

// Parts of Tonight that change by themselves, in their order.
const (
	PartVerdict = "verdict"
	PartNeeds   = "needs"
	PartNumbers = "numbers"
	PartCourse  = "course"
	PartClinics = "clinics"
)

// LiveParts renders the parts of Tonight that change by themselves.
func (p *Pages) LiveParts(view LiveView) ([]LivePart, error) {
	var parts []LivePart
	for _, name := range []string{PartVerdict, PartNeeds, PartNumbers, PartCourse, PartClinics} {
		var out bytes.Buffer
		if err := p.byName[People].ExecuteTemplate(&out, "live-"+name, view); err != nil {
			return nil, fmt.Errorf("rendering part %s: %w", name, err)
		}
		parts = append(parts, LivePart{Name: name, HTML: template.HTML(out.String())}) //nolint:gosec // html/template made it
	}
	return parts, nil
}

// Render writes a page. Nothing is written if the page fails.
func (p *Pages) Render(w io.Writer, name string, view any) error {
	t, ok := p.byName[name]
	if !ok {
		return fmt.Errorf("there is no page %q", name)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, view); err != nil {
		return fmt.Errorf("rendering page %s: %w", name, err)
	}
	if _, err := out.WriteTo(w); err != nil {
		return fmt.Errorf("sending page %s: %w", name, err)
	}
	return nil
}
