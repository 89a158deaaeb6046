package ingest

import (
	"net/http"

	"github.com/noctua-screening/noctua/pkg/dicom"
)

// Failure reasons (0008,1197) of PS3.18, table I.2-1 and 10.5.3. What may work later is Out of Resources, upon which senders try again.
const (
	reasonProcessing       = 0x0110 // the request broke off
	reasonSOPClass         = 0x0122 // not what fundus cameras send
	reasonOutOfResources   = 0xA700 // the inbox or the disk cannot take it now
	reasonDataSetMismatch  = 0xA900 // of another study than the address
	reasonCannotUnderstand = 0xC000 // larger than the limit, empty, or kept although it cannot be read
)

// jsonElement is one element of the DICOM JSON model (PS3.18, F.2).
type jsonElement struct {
	VR    string `json:"vr"`
	Value []any  `json:"Value,omitempty"`
}

// jsonDataset is a data set by tags of eight hexadecimal digits.
type jsonDataset map[string]jsonElement

// Attributes of the answer.
const (
	attributeClass      = "00081150" // Referenced SOP Class UID
	attributeInstance   = "00081155" // Referenced SOP Instance UID
	attributeReason     = "00081197" // Failure Reason
	attributeFailed     = "00081198" // Failed SOP Sequence
	attributeReferenced = "00081199" // Referenced SOP Sequence
	attributeOther      = "0008119A" // Other Failures Sequence
)

// stowAnswer gathers what became of a request's parts (PS3.18, table I.1-1). It names no Retrieve URL, since nothing here serves stored
// instances.
type stowAnswer struct {
	referenced []any // stored
	failed     []any // not stored
	other      []any // failures of what has no name
	kept       int   // stored, although no instance could be named
	tooLarge   int   // of the failures
	away       bool  // the inbox or the disk failed
}

// reference is the macro that names an instance.
func reference(id dicom.FileIdentity) jsonDataset {
	return jsonDataset{
		attributeClass:    {VR: "UI", Value: []any{id.Class}},
		attributeInstance: {VR: "UI", Value: []any{id.Instance}},
	}
}

// store notes a part that is durable in the inbox. One that cannot be named is told as a failure beside: whoever sends it should look
// at it, but it is kept.
func (a *stowAnswer) store(id dicom.FileIdentity) {
	if id.Class == "" || id.Instance == "" {
		a.kept++
		a.fail(dicom.FileIdentity{}, reasonCannotUnderstand)
		return
	}
	a.referenced = append(a.referenced, reference(id))
}

// fail notes a part that is not stored.
func (a *stowAnswer) fail(id dicom.FileIdentity, reason uint16) {
	why := jsonElement{VR: "US", Value: []any{reason}}
	if id.Class == "" || id.Instance == "" {
		a.other = append(a.other, jsonDataset{attributeReason: why})
		return
	}
	item := reference(id)
	item[attributeReason] = why
	a.failed = append(a.failed, item)
}

// stored is how many parts are in the inbox.
func (a *stowAnswer) stored() int { return len(a.referenced) + a.kept }

// status is the answer's (PS3.18, 10.5.3.1) after the request ended with r, or to its end with nil.
func (a *stowAnswer) status(r *stowError) int {
	failures := len(a.failed) + len(a.other)
	switch {
	case a.stored() > 0 && failures == 0 && r == nil:
		return http.StatusOK
	case a.stored() > 0:
		return http.StatusAccepted
	case a.away:
		return http.StatusServiceUnavailable
	case r != nil:
		return r.status
	case a.tooLarge > 0 && a.tooLarge == failures:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusConflict
}

// dataset is the answer's body; empty if there is nothing to tell of.
func (a *stowAnswer) dataset(r *stowError) jsonDataset {
	if r != nil && a.stored() > 0 {
		a.fail(dicom.FileIdentity{}, r.reason) // what came after
	}
	d := jsonDataset{}
	for attribute, items := range map[string][]any{attributeReferenced: a.referenced, attributeFailed: a.failed, attributeOther: a.other} {
		if len(items) > 0 {
			d[attribute] = jsonElement{VR: "SQ", Value: items}
		}
	}
	return d
}
