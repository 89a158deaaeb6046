package dicomweb

import (
	"testing"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// FuzzAnswer: whatever an archive answers is instances with a name, nothing, or a fault with a code.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3"]},"00081196":{"vr":"US","Value":[45056]}}]}}`))
	f.Add(202, []byte(`[{"00081198":{"Value":[{"00081155":{"Value":["1.2.4"]},"00081197":{"Value":[42752]}}]}}]`))
	f.Add(409, []byte(`null`))
	f.Fuzz(func(t *testing.T, status int, raw []byte) {
		found, err := outcomes(status, "application/dicom+json", raw)
		if err != nil && (fault.CodeOf(err) == "" || found != nil) {
			t.Errorf("%v, %v", found, err)
		}
		if _, ok := found[""]; ok {
			t.Error("an instance without a name")
		}
	})
}
