package access

import (
	"regexp"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/event"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// Scope is a kind of thing that somebody may do.
type Scope string

// Scopes.
const (
	Read    Scope = "report.read" // reports, their pictures, FHIR and the pages that show them
	Operate Scope = "operate"     // what a person in charge does: decide about quarantine, send again; includes Read and Upload
	Upload  Scope = "upload"      // send pictures
	Audit   Scope = "audit.read"  // read the audit log, which is of the whole site
)

// Scopes are all of them, in the order in which people are shown them.
func Scopes() []Scope { return []Scope{Read, Operate, Upload, Audit} }

// AllResources stands for every kind of FHIR resource, and for what is not FHIR.
const AllResources = ""

// Grant is one scope.
type Grant struct {
	Scope  Scope
	Clinic string // the only one that it is for; "": all
	// Resource is the only kind of FHIR resource that it lets read, e.g. "Observation"; AllResources: all, and what is not FHIR.
	Resource string
}

// String writes a grant as ParseScopes reads it.
func (g Grant) String() string {
	text := string(g.Scope)
	if g.Resource != AllResources {
		text = "system/" + g.Resource + ".rs"
	}
	if g.Clinic != "" {
		text += ":" + g.Clinic
	}
	return text
}

// Via is the way on which somebody was recognised.
type Via string

// Ways of being recognised.
const (
	ViaToken   Via = "token"   // of the file of tokens, or the operator's own
	ViaSession Via = "session" // a person who signed in
	ViaJWT     Via = "jwt"     // a token of the site's OpenID Connect server
	ViaNone    Via = "none"    // nobody knows who it is
)

// Principal is who asks, and what they may do.
type Principal struct {
	Name   string // of the token, or the JWT's client or subject
	Via    Via
	Grants []Grant
}

// Everything is the principal who may do all: whoever has the operator's token.
func Everything(name string, via Via) Principal {
	p := Principal{Name: name, Via: via}
	for _, s := range Scopes() {
		p.Grants = append(p.Grants, Grant{Scope: s})
	}
	return p
}

// Clinics are those for which somebody may do something.
type Clinics struct {
	all   bool
	names []string // sorted, each once; nil where all
}

// AllClinics are all that there are, and will be.
func AllClinics() Clinics { return Clinics{all: true} }

// OnlyClinics are those named.
func OnlyClinics(names ...string) Clinics {
	sorted := slices.Sorted(slices.Values(names))
	return Clinics{names: slices.Compact(sorted)}
}

// All tells whether it is all of them.
func (c Clinics) All() bool { return c.all }

// None tells whether it is none.
func (c Clinics) None() bool { return !c.all && len(c.names) == 0 }

// Names are the clinics by name: nil where it is all of them, and never nil otherwise.
func (c Clinics) Names() []string {
	if c.names == nil && !c.all {
		return []string{}
	}
	return c.names
}

// Has tells whether a clinic is among them.
func (c Clinics) Has(clinic string) bool { return c.all || slices.Contains(c.names, clinic) }

// String lists them for people.
func (c Clinics) String() string {
	switch {
	case c.all:
		return "all clinics"
	case len(c.names) == 0:
		return "no clinic"
	}
	return strings.Join(c.names, ", ")
}

// implied are the scopes of which each one includes another.
var implied = map[Scope][]Scope{Read: {Operate}, Upload: {Operate}}

// Clinics tells for which clinics the principal may do something with a kind of FHIR resource (AllResources: with what is not FHIR, or
// with resources of any kind).
func (p Principal) Clinics(scope Scope, resource string) Clinics {
	var c Clinics
	for _, g := range p.Grants {
		if g.Scope != scope && !slices.Contains(implied[scope], g.Scope) {
			continue
		}
		if g.Resource != AllResources && g.Resource != resource {
			continue
		}
		if g.Clinic == "" {
			return AllClinics()
		}
		c.names = append(c.names, g.Clinic)
	}
	return OnlyClinics(c.names...)
}

// May tells whether the principal may do something at a clinic.
func (p Principal) May(scope Scope, resource, clinic string) bool {
	return p.Clinics(scope, resource).Has(clinic)
}

// Parse reads one of Noctua's own scopes: report.read, operate or upload, each alone or with a clinic (operate:north), or audit.read.
//
// Fault: Invalid token-scope-invalid.
func Parse(text string) (Grant, error) {
	name, clinic, limited := strings.Cut(text, ":")
	g := Grant{Scope: Scope(name), Clinic: clinic}
	switch {
	case !slices.Contains(Scopes(), g.Scope):
		return Grant{}, badScope("%q is no scope", text)
	case limited && g.Scope == Audit:
		return Grant{}, badScope("audit.read is for the whole site and takes no clinic")
	case limited && !event.ValidClinic(clinic):
		return Grant{}, badScope("a clinic is 1 to 64 letters, digits, - and _")
	}
	return g, nil
}

func badScope(format string, args ...any) error {
	return fault.New(fault.Invalid, "token-scope-invalid", "the scope should be report.read, operate, upload (of all clinics, or of one: operate:north) or audit.read: "+format, args...)
}

// ParseAll reads scopes with spaces between them; at least one.
//
// Fault: Invalid token-scope-invalid.
func ParseAll(text string) ([]Grant, error) {
	var grants []Grant
	for _, part := range strings.Fields(text) {
		g, err := Parse(part)
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	if len(grants) == 0 {
		return nil, badScope("there is none")
	}
	return grants, nil
}

// smart is a scope of SMART App Launch, version 1 (.read, .*) or 2 (.rs, .cruds), of systems and of users. What follows a question mark
// narrows it, which Noctua cannot do: such a scope allows nothing.
var smart = regexp.MustCompile(`^(?:system|user)/(\*|[A-Z][A-Za-z]{1,63})\.(read|write|\*|c?r?u?d?s?)$`)

// FromClaims reads what a JWT says: scopes of SMART or of Noctua, for the clinics that it names ("*": all). Scopes that Noctua does not
// know are for somebody else, and are passed over. The grants of a scope that names its clinic are for that one alone, where the JWT's
// clinics have it.
func FromClaims(scopes, clinics []string) []Grant {
	allowed := OnlyClinics(clinics...)
	if slices.Contains(clinics, "*") {
		allowed = AllClinics()
	}
	var grants []Grant
	add := func(g Grant) {
		switch {
		case g.Clinic != "":
			if allowed.Has(g.Clinic) {
				grants = append(grants, g)
			}
		case allowed.All():
			grants = append(grants, g)
		case g.Scope == Audit: // of the whole site
		default:
			for _, clinic := range allowed.Names() {
				if event.ValidClinic(clinic) {
					grants = append(grants, Grant{Scope: g.Scope, Clinic: clinic, Resource: g.Resource})
				}
			}
		}
	}
	for _, text := range scopes {
		if g, err := Parse(text); err == nil {
			add(g)
			continue
		}
		m := smart.FindStringSubmatch(text)
		if m == nil || !readsAndSearches(m[2]) {
			continue
		}
		resource := m[1]
		if resource == "*" {
			resource = AllResources
		}
		add(Grant{Scope: Read, Resource: resource})
	}
	return grants
}

// readsAndSearches tells whether the part of a SMART scope that names what may be done has both reading and searching.
func readsAndSearches(what string) bool {
	return what == "read" || what == "*" || strings.Contains(what, "r") && strings.Contains(what, "s") && what != "write"
}
