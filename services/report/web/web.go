package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
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
	Live        = "live" // the part of Tonight that is fetched again and again
	Patients    = "patients"
	Patient     = "patient"
	Quarantine  = "quarantine"
	Quarantined = "quarantined"
	SignIn      = "signin"
	Failed      = "error"
)

// Pages renders the pages. It is safe for concurrent use.
type Pages struct {
	byName map[string]*template.Template
}

// New parses the templates. Times are shown in zone.
func New(zone *time.Location) (*Pages, error) {
	functions := template.FuncMap{
		"clock": func(t time.Time) string { return t.In(zone).Format("15:04") },
		"moment": func(t time.Time) string {
			return t.In(zone).Format("Mon 2 Jan 2006, 15:04")
		},
		"instant": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"short": func(s string) string {
			const digits = 12
			return s[:min(len(s), digits)]
		},
		"plural": func(n int, one, many string) string {
			if n == 1 {
				return one
			}
			return many
		},
	}
	maps.Copy(functions, patientFunctions())
	p := &Pages{byName: map[string]*template.Template{}}
	for _, name := range []string{Tonight, Patients, Patient, Quarantine, Quarantined, SignIn, Failed} {
		t, err := template.New("layout.html").Funcs(functions).ParseFS(templates, "templates/layout.html", "templates/live.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", name, err)
		}
		p.byName[name] = t
	}
	t, err := template.New("live.html").Funcs(functions).ParseFS(templates, "templates/live.html")
	if err != nil {
		return nil, fmt.Errorf("parsing page %s: %w", Live, err)
	}
	p.byName[Live] = t
	return p, nil
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
