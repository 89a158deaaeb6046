package vessel

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// TestSchema: the schema of what this version measures is made from the table, like the document and the FHIR code system.
func TestSchema(t *testing.T) {
	t.Parallel()
	const path = "../../schemas/measures.v1.schema.json"
	type object = map[string]any
	row := func(title, text string, consts object) object {
		properties, required := object{}, []string{}
		for _, key := range []string{"name", "region", "unit"} {
			if value, ok := consts[key]; ok {
				properties[key] = object{"const": value}
				required = append(required, key)
			}
		}
		return object{"title": title, "description": text, "required": required, "properties": properties}
	}
	var measures, regional, regions []object
	for _, d := range Definitions() {
		measures = append(measures, row(d.Display, d.Text+" Source: "+d.Source+".", object{"name": d.Name, "unit": d.Unit, "region": d.Region}))
		if d.Regional {
			regional = append(regional, row(d.Display, "As of the whole field of view.", object{"name": d.Name, "unit": d.Unit}))
		}
	}
	for _, r := range Regions() {
		regions = append(regions, row(r.Display, r.Text, object{"name": r.Name}))
	}
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://noctua-screening.org/schemas/measures.v1.schema.json",
		"title": "Measures",
		"description": "The measures and regions of this version of Noctua: a result, or an image of a report, that it made is valid by this schema too. " +
			"Later versions may add some. Written by go test ./pkg/vessel -update.",
		"type": "object", "required": []string{"measures"},
		"properties": object{
			"measures": object{"type": "array", "items": object{"oneOf": measures}},
			"regions": object{"type": "array", "items": object{
				"oneOf":      regions,
				"properties": object{"measures": object{"type": "array", "items": object{"oneOf": regional}}},
			}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not that of the program: run go test ./pkg/vessel -update (%v)", path, err)
	}
}
