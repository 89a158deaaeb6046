package fhirschema_test

import (
	"strings"
	"testing"

	"github.com/noctua-screening/noctua/test/fhirschema"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	patient := `{"resourceType":"Patient","id":"a","gender":"male","birthDate":"1950-03-04"}`
	for resource, problem := range map[string]string{
		patient: "",
		`{"resourceType":"Bundle","type":"searchset","entry":[{"resource":` + patient + `}]}`:                                  "",
		strings.Replace(patient, "male", "m", 1):                                                                               "gender",
		strings.Replace(patient, "1950-03-04", "04.03.1950", 1):                                                                "birthDate",
		strings.Replace(patient, `"gender"`, `"sex"`, 1):                                                                       "sex",
		`{"resourceType":"Bundle","type":"searchset","entry":[{"resource":` + strings.Replace(patient, "male", "m", 1) + `}]}`: "Bundle.entry[0].Patient",
		`{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"resource":[{"versioning":"sometimes"}]}]}`:      "versioning",
		`{"resourceType":"CapabilityStatement","fhirVersion":"4.0.2"}`:                                                         "fhirVersion",
		`{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`:                                                         "",
		`{"resourceType":"Nonsense"}`:                                                                                          "Nonsense",
		`{"id":"a"}`:                                                                                                           "no resource",
		`[]`:                                                                                                                   "no resource",
		`{"resourceType":"Observation","status":"final"}`:                                                                      "code",
	} {
		err := fhirschema.Validate([]byte(resource))
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%s: %v, want %q", resource, err, problem)
		}
	}
}
