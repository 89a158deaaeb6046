package fhir

import "slices"

// Param is a search parameter.
type Param struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Served is a kind of resource as it is served.
type Served struct {
	Type   string
	Params []Param // of its search; nil: it is not searched
	// Chains are parameters of what it refers to.
	Chains              []string
	Include, RevInclude []string
	// Versions tells whether one version of it can be read.
	Versions bool
	// Sort are the values of _sort; the first one is the default.
	Sort []string
}

// Resources are the kinds of resources that are served, in the order of their names.
func Resources() []Served {
	id, updated := Param{"_id", "token"}, Param{"_lastUpdated", "date"}
	patient := []Param{id, updated, {"patient", "reference"}, {"subject", "reference"}}
	chains := []string{"patient.identifier", "subject.identifier"}
	with := func(params []Param, more ...Param) []Param { return append(slices.Clone(params), more...) }
	target := []string{"Provenance:target"}
	both := func(names ...string) (all []string) {
		for _, name := range names {
			all = append(all, name, "-"+name)
		}
		return all
	}
	terms := []Param{id, {"url", "uri"}}
	return []Served{
		{Type: "AuditEvent", Params: []Param{{"date", "date"}}},
		{Type: "CodeSystem", Params: terms},
		{Type: "Device", Params: []Param{id, {"identifier", "token"}}, Versions: true},
		{Type: "DiagnosticReport", Params: with(patient, Param{"category", "token"}, Param{"code", "token"}, Param{"date", "date"}, Param{"identifier", "token"}, Param{"issued", "date"}, Param{"status", "token"}),
			Chains: chains, Include: []string{"DiagnosticReport:imaging-study", "DiagnosticReport:patient", "DiagnosticReport:result", "DiagnosticReport:subject"}, RevInclude: target, Versions: true, Sort: both("_lastUpdated", "date", "issued")},
		{Type: "ImagingStudy", Params: with(patient, Param{"identifier", "token"}, Param{"started", "date"}, Param{"status", "token"}),
			Chains: chains, Include: []string{"ImagingStudy:patient", "ImagingStudy:subject"}, RevInclude: target, Versions: true, Sort: both("_lastUpdated", "started")},
		{Type: "Observation", Params: with(patient, Param{"category", "token"}, Param{"code", "token"}, Param{"date", "date"}, Param{"derived-from", "reference"}, Param{"status", "token"}),
			Chains: chains, Include: []string{"Observation:derived-from", "Observation:device", "Observation:patient", "Observation:subject"}, RevInclude: target, Versions: true, Sort: both("_lastUpdated", "date")},
		{Type: "Patient", Params: []Param{id, updated, {"birthdate", "date"}, {"gender", "token"}, {"identifier", "token"}, {"name", "string"}}, Versions: true, Sort: []string{"_id", "_lastUpdated"}},
		{Type: "Provenance", Params: []Param{id, updated, {"patient", "reference"}, {"recorded", "date"}, {"target", "reference"}}, Chains: chains[:1], Sort: both("_lastUpdated", "recorded"), Versions: true},
		{Type: "Task", Params: []Param{id, {"authored-on", "date"}, {"code", "token"}, {"identifier", "token"}, {"status", "token"}}, Versions: true, Sort: both("authored-on")},
		{Type: "ValueSet", Params: terms},
	}
}

// ServedAs finds a kind of resource by its name; the zero Served if it is not served.
func ServedAs(resource string) Served {
	for _, s := range Resources() {
		if s.Type == resource {
			return s
		}
	}
	return Served{}
}

// Knows tells whether a search of it takes a parameter that selects something.
func (s Served) Knows(name string) bool {
	return slices.Contains(s.Chains, name) || slices.ContainsFunc(s.Params, func(p Param) bool { return p.Name == name })
}

// Capability is the CapabilityStatement of a Noctua of a version. released is the date of the statement, yyyy-mm-dd; base the address of the
// service without a slash at the end.
func Capability(version, released, base string) any {
	var resources []object
	for _, s := range Resources() {
		res := object{"type": s.Type, "interaction": []object{{"code": "read"}}, "versioning": "no-version", "conditionalRead": "not-match"}
		interactions := []object{{"code": "read"}}
		if s.Versions {
			interactions = append(interactions, object{"code": "vread"})
			res["versioning"], res["readHistory"] = "versioned", true
		}
		if s.Params != nil {
			interactions = append(interactions, object{"code": "search-type"})
			var params []object
			for _, p := range s.Params {
				params = append(params, object{"name": p.Name, "type": p.Type})
			}
			res["searchParam"] = params
		}
		res["interaction"] = interactions
		if s.Include != nil {
			res["searchInclude"] = s.Include
		}
		if s.RevInclude != nil {
			res["searchRevInclude"] = s.RevInclude
		}
		if s.Type == "Task" {
			res["documentation"] = "Needs the scope operate."
		}
		if s.Type == "AuditEvent" {
			res["documentation"] = "Needs the scope audit.read."
		}
		resources = append(resources, res)
	}
	implementation := object{"description": "Noctua: screening of retinal photographs. A screening aid that makes no diagnosis."}
	if base != "" {
		implementation["url"] = base + "/fhir"
	}
	return object{
		"resourceType": "CapabilityStatement", "status": "active", "date": released, "kind": "instance", "fhirVersion": "4.0.1",
		"format":         []string{"json", "application/fhir+json"},
		"software":       object{"name": "Noctua", "version": version},
		"implementation": implementation,
		"rest": []object{{"mode": "server", "resource": resources,
			"security":  object{"cors": false, "description": "Bearer token in the Authorization header; only this statement and .well-known/smart-configuration are open."},
			"operation": []object{{"name": "bulk-publish", "definition": Root + "OperationDefinition/bulk-publish", "documentation": "GET $bulk-publish: the manifest of a night's resources as NDJSON."}},
		}},
	}
}
