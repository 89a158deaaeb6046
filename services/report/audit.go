package report

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"

	"github.com/noctua-screening/noctua/pkg/record"
)

// sessionDigits of the hash of a session's secret tell sessions apart in the audit log.
const sessionDigits = 16

// agentOf says who asks. The request was let in.
func agentOf(r *http.Request) record.AuditAgent {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr // as a server other than net/http's gives it
	}
	if cookie, err := r.Cookie(sessionCookie); err == nil && !hasBearer(r) {
		digest := sha256.Sum256([]byte(cookie.Value))
		return record.AuditAgent{Via: record.AgentSession, Session: hex.EncodeToString(digest[:])[:sessionDigits], Address: address}
	}
	return record.AuditAgent{Via: record.AgentToken, Address: address}
}

// audited records that who asks is about to see what entity names. What cannot be recorded must not be shown.
func (s *Service) audited(r *http.Request, entity record.AuditEntity) error {
	return s.audit.Append(r.Context(), agentOf(r), entity)
}
