package report

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/noctua-screening/noctua/pkg/record"
)

// versionChanges says in sentences what a version of a report has that the one before (nil: it is the first) has not, what a reader
// would ask about first in front. It is pure. There is always a sentence.
func versionChanges(before, after *record.Report) []string {
	if before == nil {
		return []string{"First version, of " + summary(after)}
	}
	var out []string
	out = append(out, patientChanges(before, after)...)
	out = append(out, imageChanges(before, after)...)
	out = append(out, standingChanges(before, after)...)
	out = append(out, rejectedChanges(before, after)...)
	out = append(out, missingChanges(before, after)...)
	if before.StudyDate != after.StudyDate {
		out = append(out, fmt.Sprintf("Study date: %s, before %s.", orUnknown(after.StudyDate), orUnknown(before.StudyDate)))
	}
	if before.AccessionNumber != after.AccessionNumber {
		out = append(out, "The accession number was changed.")
	}
	if len(out) == 0 && !reflect.DeepEqual(before.Series, after.Series) {
		out = append(out, "An earlier visit came in or was changed: the series over the visits is another one.")
	}
	if len(out) == 0 && !reflect.DeepEqual(before.Comparisons, after.Comparisons) {
		out = append(out, "What it is compared with was changed: the comparisons are others.")
	}
	if before.Status == record.Preliminary && after.Status == record.Final {
		text := "Final: nothing of the study was pending any more."
		if len(after.Missing) > 0 {
			text = "Final: what was announced and did not come was not waited for any longer."
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		text := "Details were changed that are in report.json alone."
		if before.CodeVersion != after.CodeVersion {
			text = fmt.Sprintf("Details were changed that are in report.json alone; made by Noctua %s, before %s.", after.CodeVersion, before.CodeVersion)
		}
		out = append(out, text)
	}
	return out
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

// patientChanges says whose the study is now, and what is written otherwise of the patient. It repeats nothing of the patient: the page says it.
func patientChanges(before, after *record.Report) (out []string) {
	a, b := before.Patient, after.Patient
	switch linked := !slices.Equal(before.PatientLinks, after.PatientLinks); {
	case a.Key != b.Key && linked && len(after.PatientLinks) < len(before.PatientLinks):
		out = append(out, "A decision about patients was undone: the study is of another patient again.")
	case a.Key != b.Key:
		out = append(out, "By a decision of a person the study is of another patient than before.")
	case linked:
		out = append(out, "The decisions about whose the study is were changed; the patient is the same.")
	}
	if a.Key != b.Key {
		return out
	}
	var corrected []string
	for _, field := range []struct{ name, before, after string }{
		{"name", a.Name, b.Name}, {"birth date", a.BirthDate, b.BirthDate}, {"sex", string(a.Sex), string(b.Sex)},
	} {
		if field.before != field.after {
			corrected = append(corrected, field.name)
		}
	}
	if len(corrected) > 0 {
		out = append(out, upper("the patient's "+listed(corrected)+" came otherwise than before."))
	}
	return out
}

// imageChanges says which pictures came, went, were sent again or were judged otherwise.
func imageChanges(before, after *record.Report) (out []string) {
	type key struct{ sop, sha256 string }
	known, instances := map[key]record.ReportImage{}, map[string][]record.ReportImage{}
	for _, img := range before.Images {
		known[key{img.SOPUID, img.Sha256}] = img
		instances[img.SOPUID] = append(instances[img.SOPUID], img)
	}
	there := map[string]bool{}
	var said counted
	for _, img := range after.Images {
		there[img.SOPUID] = true
		old, same := known[key{img.SOPUID, img.Sha256}]
		switch earlier := instances[img.SOPUID]; {
		case same:
			for _, text := range outcomeChanges(old, img) {
				said.add(text, pictureOf(img))
			}
		case len(earlier) > 0 && earlier[len(earlier)-1].Laterality != img.Laterality:
			said.add("%s sent again as another eye's", pictureOf(img))
		case len(earlier) > 0:
			said.add("%s sent again, with a corrected header or other pixels; the newer file counts", pictureOf(img))
		case img.Status == record.ImagePending:
			said.add("%s added", pictureOf(img))
		default:
			said.add("%s added and "+outcomeText(img.Status), pictureOf(img))
		}
	}
	for _, img := range before.Images {
		if !there[img.SOPUID] {
			there[img.SOPUID] = true
			said.add("%s not in the study any more", pictureOf(img))
		}
	}
	return append(out, said.sentences()...)
}

// outcomeChanges says what became of a picture that was there before.
func outcomeChanges(before, after record.ReportImage) []string {
	switch {
	case before.Status == record.ImagePending && after.Status != before.Status:
		return []string{"%s " + outcomeText(after.Status)}
	case before.Status != after.Status:
		return []string{"%s " + outcomeText(after.Status) + ", before " + statusTexts[string(before.Status)]}
	case before.Provenance != nil && after.Provenance != nil && before.Provenance.Model != after.Provenance.Model:
		return []string{"%s measured by the model " + after.Provenance.Model.String() + ", before " + before.Provenance.Model.String()}
	case before.ResultKey != after.ResultKey, !reflect.DeepEqual(before.Measures, after.Measures):
		return []string{"%s measured anew"}
	case before.Laterality != after.Laterality:
		return []string{"%s taken to be of another eye than before"}
	}
	return nil
}

func outcomeText(s record.ImageStatus) string {
	if s == record.ImageFailed {
		return "could not be analysed"
	}
	return statusTexts[string(s)]
}

// pictureOf is the eye that a picture is of.
func pictureOf(img record.ReportImage) string {
	switch img.Laterality {
	case record.RightEye:
		return "of the right eye"
	case record.LeftEye:
		return "of the left eye"
	}
	return "without an eye"
}

// counted gathers what is said of several pictures into one sentence of each kind, in the order in which they came.
type counted struct {
	kinds []countedKind
}

type countedKind struct {
	text, of string
	n        int
}

// add counts a picture for a text, in which %s stands for the pictures.
func (c *counted) add(text, of string) {
	for i := range c.kinds {
		if c.kinds[i].text == text && c.kinds[i].of == of {
			c.kinds[i].n++
			return
		}
	}
	c.kinds = append(c.kinds, countedKind{text, of, 1})
}

func (c *counted) sentences() (out []string) {
	for _, k := range c.kinds {
		pictures := fmt.Sprintf("%d %s %s", k.n, choose(k.n, "picture", "pictures"), k.of)
		out = append(out, strings.Replace(k.text, "%s", pictures, 1)+".")
	}
	return out
}

// standingChanges says for which eye another picture speaks, where both versions tell and both pictures were there.
func standingChanges(before, after *record.Report) (out []string) {
	for _, e := range after.Eyes {
		for _, old := range before.Eyes {
			if old.Laterality == e.Laterality && old.SOPUID != "" && e.SOPUID != "" && old.SOPUID != e.SOPUID {
				out = append(out, fmt.Sprintf("Another picture stands for the %s eye.", eyeName(e.Laterality)))
			}
		}
	}
	return out
}

// rejectedChanges says which files went to quarantine, and how many left it.
func rejectedChanges(before, after *record.Report) (out []string) {
	has := func(r *record.Report, f record.ReportRejected) bool {
		return slices.ContainsFunc(r.Rejected, func(o record.ReportRejected) bool { return o.Sha256 == f.Sha256 && o.Code == f.Code })
	}
	left := 0
	for _, f := range before.Rejected {
		if !has(after, f) {
			left++
		}
	}
	if left > 0 {
		out = append(out, fmt.Sprintf("%d %s of the study left quarantine, released or discarded.", left, choose(left, "file", "files")))
	}
	for _, f := range after.Rejected {
		if !has(before, f) {
			out = append(out, "A file of the study went to quarantine: "+lowerFirst(trimPoint(f.Reason))+".")
		}
	}
	return out
}

// missingChanges says of how many announced pictures it is known now what became of them.
func missingChanges(before, after *record.Report) (out []string) {
	open := func(r *record.Report) map[string]string {
		m := map[string]string{}
		for _, i := range r.Missing {
			m[i.SOPUID] = i.Code
		}
		return m
	}
	old, now := open(before), open(after)
	came, late, announced := 0, 0, 0
	for sop, code := range old {
		switch other, still := now[sop]; {
		case !still:
			came++
		case code == awaitedCode && other != awaitedCode:
			late++
		}
	}
	for sop := range now {
		if _, known := old[sop]; !known {
			announced++
		}
	}
	for _, c := range []struct {
		n         int
		one, many string
	}{
		{announced, "1 picture is announced that is not here.", "%d pictures are announced that are not here."},
		{came, "1 announced picture is here now, or not announced any more.", "%d announced pictures are here now, or not announced any more."},
		{late, "1 announced picture did not come in time.", "%d announced pictures did not come in time."},
	} {
		if c.n == 1 {
			out = append(out, c.one)
		} else if c.n > 1 {
			out = append(out, fmt.Sprintf(c.many, c.n))
		}
	}
	return out
}

// listed joins words for people.
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
