// Package event holds Noctua's messages: types generated from schemas/, the envelope, the subjects, and the codec that
// checks every message on its way out (strictly: no unknown properties) and on its way in (tolerantly). Messages hold no
// patient data. It imports only schemas, pkg/record and pkg/fault.
package event
