package record

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// PatientKey is the HMAC-SHA-256 of clinic, issuer and PatientID under the site's secret: the name by which a patient is
// known in keys and events.
func PatientKey(secret []byte, clinic, issuer, patientID string) string {
	mac := hmac.New(sha256.New, secret)
	// NUL cannot be in any of the three, so no two patients share the text.
	mac.Write([]byte(clinic + "\x00" + issuer + "\x00" + patientID))
	return hex.EncodeToString(mac.Sum(nil))
}
