package access

import (
	"slices"
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Grant{
		"report.read": {Scope: Read}, "report.read:north": {Scope: Read, Clinic: "north"}, "operate:a-1_B": {Scope: Operate, Clinic: "a-1_B"},
		"upload": {Scope: Upload}, "audit.read": {Scope: Audit},
	} {
		got, err := Parse(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, written %s, %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "read", "report.read:", "report.read:north:x", "operate:../x", "audit.read:north", "upload:north west", "Operate", "system/*.rs"} {
		if g, err := Parse(text); fault.CodeOf(err) != "token-scope-invalid" {
			t.Errorf("%q is read as %+v, %v", text, g, err)
		}
	}
	if all, err := ParseAll("  report.read:north\toperate:south "); err != nil || len(all) != 2 {
		t.Errorf("two scopes are read as %v, %v", all, err)
	}
	if _, err := ParseAll(" "); err == nil {
		t.Error("no scope at all is taken")
	}
}

func TestMay(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		grants   []Grant
		scope    Scope
		resource string
		clinic   string
		want     bool
	}{
		{"nothing granted", nil, Read, "", "north", false},
		{"own clinic", []Grant{{Scope: Read, Clinic: "north"}}, Read, "", "north", true},
		{"another clinic", []Grant{{Scope: Read, Clinic: "north"}}, Read, "", "south", false},
		{"one of two", []Grant{{Scope: Read, Clinic: "north"}, {Scope: Read, Clinic: "south"}}, Read, "", "south", true},
		{"all clinics", []Grant{{Scope: Read}}, Read, "", "south", true},
		{"a prefix is another clinic", []Grant{{Scope: Read, Clinic: "north"}}, Read, "", "north2", false},
		{"an operator reads", []Grant{{Scope: Operate, Clinic: "north"}}, Read, "", "north", true},
		{"an operator uploads", []Grant{{Scope: Operate, Clinic: "north"}}, Upload, "", "north", true},
		{"an operator reads at their own clinic only", []Grant{{Scope: Operate, Clinic: "north"}, {Scope: Upload}}, Read, "", "south", false},
		{"a reader does not operate", []Grant{{Scope: Read}}, Operate, "", "north", false},
		{"a reader does not upload", []Grant{{Scope: Read}}, Upload, "", "north", false},
		{"an uploader does not read", []Grant{{Scope: Upload}}, Read, "", "north", false},
		{"an operator does not read the audit log", []Grant{{Scope: Operate}}, Audit, "", "", false},
		{"one kind of resource", []Grant{{Scope: Read, Resource: "Observation"}}, Read, "Observation", "north", true},
		{"another kind of resource", []Grant{{Scope: Read, Resource: "Observation"}}, Read, "Patient", "north", false},
		{"one kind of resource is not the pages", []Grant{{Scope: Read, Resource: "Observation"}}, Read, AllResources, "north", false},
		{"all resources have each", []Grant{{Scope: Read}}, Read, "Observation", "north", true},
	} {
		if got := (Principal{Grants: test.grants}).May(test.scope, test.resource, test.clinic); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	for _, scope := range Scopes() {
		if !Everything("operator", ViaToken).May(scope, "Patient", "north") {
			t.Errorf("the operator may not %s", scope)
		}
	}
}

func TestClinics(t *testing.T) {
	t.Parallel()
	c := OnlyClinics("south", "north", "south")
	if !slices.Equal(c.Names(), []string{"north", "south"}) || c.All() || c.None() || c.String() != "north, south" {
		t.Errorf("clinics %v", c)
	}
	if c := AllClinics(); !c.All() || c.None() || c.Names() != nil || !c.Has("any") || c.String() != "all clinics" {
		t.Errorf("all clinics are %v", c)
	}
	if c := OnlyClinics(); c.All() || !c.None() || c.Has("") || c.Names() == nil || c.String() != "no clinic" {
		t.Errorf("no clinics are %v", c)
	}
}

func TestFromClaims(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		scopes, clinics []string
		want            []Grant
	}{
		{"SMART 2, all", []string{"openid", "system/*.rs"}, []string{"*"}, []Grant{{Scope: Read}}},
		{"SMART 1, all", []string{"system/*.read"}, []string{"north"}, []Grant{{Scope: Read, Clinic: "north"}}},
		{"one resource, two clinics", []string{"system/Observation.rs"}, []string{"south", "north"},
			[]Grant{{Scope: Read, Clinic: "north", Resource: "Observation"}, {Scope: Read, Clinic: "south", Resource: "Observation"}}},
		{"user and everything", []string{"user/Patient.cruds", "user/Task.*"}, []string{"*"}, []Grant{{Scope: Read, Resource: "Patient"}, {Scope: Read, Resource: "Task"}}},
		{"what Noctua does not give", []string{"system/*.c", "system/*.write", "system/*.r", "system/*.s", "patient/*.rs", "system/Observation.rs?code=1", "system/.rs", "launch", "system/*."}, []string{"*"}, nil},
		{"no clinic, nothing", []string{"system/*.rs", "operate", "audit.read"}, nil, nil},
		{"own scopes", []string{"operate", "audit.read", "upload:south"}, []string{"north", "south"},
			[]Grant{{Scope: Operate, Clinic: "north"}, {Scope: Operate, Clinic: "south"}, {Scope: Upload, Clinic: "south"}}},
		{"a scope of another clinic", []string{"operate:west"}, []string{"north"}, nil},
		{"the audit log needs all clinics", []string{"audit.read"}, []string{"*"}, []Grant{{Scope: Audit}}},
		{"a clinic that is none", []string{"operate"}, []string{"../x", ""}, nil},
	} {
		if got := FromClaims(test.scopes, test.clinics); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
