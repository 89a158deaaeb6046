package account

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
)

const (
	// maxAccounts in a file, and maxFileBytes of one: requests read it.
	maxAccounts  = 1000
	maxFileBytes = 1 << 20
	// maxName of an account, in bytes.
	maxName = 64
)

// OperatorName is the account that the first start makes.
const OperatorName = "operator"

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_.@-]{0,63}$`)

// Entry is one account as its file knows it.
type Entry struct {
	Name string `json:"name"`
	// Password is what argon2id made of it, in the PHC string format.
	Password  string    `json:"password"`
	Scope     string    `json:"scope"` // as access.ParseAll reads it
	CreatedAt time.Time `json:"created_at"`
	// ChangedAt is when the password was set last.
	ChangedAt time.Time `json:"password_changed_at"`
	// MustChange: somebody else knows the password, so that a new one has to be chosen before anything else.
	MustChange bool `json:"must_change,omitempty"`
	Disabled   bool `json:"disabled,omitempty"`
}

// Principal is who has the account, and what they may do.
func (e Entry) Principal() access.Principal {
	grants, err := access.ParseAll(e.Scope)
	if err != nil {
		grants = nil // an entry that was not read from a file allows nothing
	}
	return access.Principal{Name: e.Name, Via: access.ViaSession, Grants: grants}
}

// NameOf is the name that somebody means who types it with capitals or spaces around it.
func NameOf(typed string) string {
	name := strings.ToLower(strings.TrimSpace(typed))
	return name[:min(len(name), maxName)]
}

type file struct {
	Accounts []Entry `json:"accounts"`
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Invalid, "accounts-damaged", "the file of accounts "+format+"; restore it from a backup, or remove it and make new accounts", args...)
}

func decode(raw []byte) ([]Entry, error) {
	if len(raw) > maxFileBytes {
		return nil, damaged("is larger than %d bytes", maxFileBytes)
	}
	var doc file
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil || decoder.More() {
		return nil, damaged("is not the JSON that noctua account writes")
	}
	if len(doc.Accounts) > maxAccounts {
		return nil, damaged("holds more than %d accounts", maxAccounts)
	}
	names := map[string]bool{}
	for n, e := range doc.Accounts {
		if _, err := access.ParseAll(e.Scope); err != nil || !namePattern.MatchString(e.Name) || names[e.Name] {
			return nil, damaged("has no usable name or scope for account %d", n+1)
		}
		if _, ok := parse(e.Password); !ok {
			return nil, damaged("has no password for account %d", n+1)
		}
		names[e.Name] = true
	}
	return doc.Accounts, nil
}

func encode(entries []Entry) ([]byte, error) {
	raw, err := json.MarshalIndent(file{Accounts: append([]Entry{}, entries...)}, "", "  ")
	return append(raw, '\n'), err
}

// find is the entry of that name, and where it is; -1 where there is none.
func find(entries []Entry, name string) (Entry, int) {
	n := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name })
	if n < 0 {
		return Entry{}, -1
	}
	return entries[n], n
}
