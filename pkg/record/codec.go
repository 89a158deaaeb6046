package record

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/schemas"
)

// Encode writes a document as JSON after checking it against schemaName, e.g. ResultSchema.
// A document that does not fit is a fault of kind Internal: Noctua must never write one.
func Encode(schemaName string, document any) ([]byte, error) {
	raw, err := schemas.Marshal(strings.TrimPrefix(schemaName, "noctua."), document)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "document-invalid", err, "encoding %s", schemaName)
	}
	return raw, nil
}

// Decode reads a document into *T. Properties that this version does not know are ignored; the `schema` field must match.
func Decode[T any](schemaName string, raw []byte) (*T, error) {
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fault.Wrap(fault.Invalid, "document-invalid", err, "the document should be %s but is not JSON", schemaName)
	}
	if head.Schema != schemaName {
		return nil, fault.New(fault.Invalid, "document-invalid", "the document should be %s but says %q", schemaName, head.Schema)
	}
	out := new(T)
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fault.Wrap(fault.Invalid, "document-invalid", err, "the document does not fit %s", schemaName)
	}
	return out, nil
}

// String describes the model without its hash.
func (m ModelReference) String() string { return fmt.Sprintf("%s %s", m.Name, m.Version) }
