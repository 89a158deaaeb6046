package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/noctua-screening/noctua/pkg/token"
)

// tokenCommand keeps the tokens of programs and people.
type tokenCommand struct {
	Create tokenCreateCommand `cmd:"" help:"Make a token and print it, this once."`
	List   tokenListCommand   `cmd:"" help:"List the tokens by name and scope."`
	Revoke tokenRevokeCommand `cmd:"" help:"Revoke a token; it stops working at once."`
}

// tokenFlags say where the tokens are.
type tokenFlags struct {
	Data string `help:"Data folder; the tokens lie in tokens.json inside it." default:"./noctua-data" env:"NOCTUA_DATA" placeholder:"DIR"`
	File string `help:"File of the tokens, instead of --data: the one that noctua report has as --tokens, or noctua ingest as --stow-tokens." placeholder:"FILE"`
}

func (f tokenFlags) path() string {
	if f.File != "" {
		return f.File
	}
	return filepath.Join(f.Data, tokensFile)
}

// read reads the tokens; a file that is not there yet has none.
func (f tokenFlags) read() ([]token.Entry, error) {
	entries, err := token.Read(f.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.path(), err)
	}
	return entries, nil
}

// lifetime is a span of time that may be in days.
type lifetime time.Duration

// UnmarshalText reads 90d, or what time.ParseDuration reads.
func (l *lifetime) UnmarshalText(text []byte) error {
	const day = 24 * time.Hour
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("a time in days should look like 90d, not %s", text)
		}
		*l = lifetime(time.Duration(n) * day)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	*l = lifetime(d)
	return err
}

type tokenCreateCommand struct {
	tokenFlags `embed:""`
	Scope      []string `required:"" help:"What it may do, once for each: report.read (reports, FHIR, pages), operate (quarantine, exports; includes reading and uploading), upload, each for all clinics or for one (operate:north); audit.read (the audit log)." placeholder:"SCOPE"`
	Expires    lifetime `help:"How long it works, e.g. 90d or 12h. Without it, until it is revoked." placeholder:"TIME"`
	Name       string   `arg:"" help:"Whose token it is, for lists and logs, e.g. pacs-north."`
}

// Run makes a token. It goes to standard output alone, so that a script can take it.
func (c *tokenCreateCommand) Run(inv *invocation) error {
	entries, err := c.read()
	if err != nil {
		return err
	}
	secret, entry, err := token.New(c.Name, strings.Join(c.Scope, " "), time.Duration(c.Expires), time.Now())
	if err != nil {
		return err
	}
	if entries, err = token.Add(entries, entry); err != nil {
		return err
	}
	if err := writeJSONFile(c.path(), token.Encode(entries)); err != nil {
		return err
	}
	until := "until it is revoked"
	if !entry.ExpiresAt.IsZero() {
		until = "until " + entry.ExpiresAt.Format(time.RFC3339)
	}
	if _, err := fmt.Fprintf(inv.err, "Made the token %s with the scope %s. It works %s. It is shown this once; %s holds its SHA-256 alone.\n", entry.Name, entry.Scope, until, c.path()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(inv.out, secret)
	return err
}

type tokenListCommand struct {
	tokenFlags `embed:""`
}

// Run lists the tokens.
func (c *tokenListCommand) Run(inv *invocation) error {
	entries, err := c.read()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(inv.out, 0, 0, 2, ' ', 0)
	_, err = fmt.Fprintln(table, "NAME\tSCOPE\tMADE\tWORKS UNTIL")
	for _, e := range entries {
		until := "revoked"
		if !e.ExpiresAt.IsZero() {
			until = e.ExpiresAt.Format(time.RFC3339)
		}
		if e.Expired(time.Now()) {
			until += " (over)"
		}
		_, lineErr := fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.Name, e.Scope, e.CreatedAt.Format(time.RFC3339), until)
		err = errors.Join(err, lineErr)
	}
	return errors.Join(err, table.Flush())
}

type tokenRevokeCommand struct {
	tokenFlags `embed:""`
	Name       string `arg:"" help:"Name of the token."`
}

// Run revokes a token.
func (c *tokenRevokeCommand) Run(inv *invocation) error {
	entries, err := c.read()
	if err != nil {
		return err
	}
	if entries, err = token.Remove(entries, c.Name); err != nil {
		return err
	}
	if err := writeJSONFile(c.path(), token.Encode(entries)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(inv.out, "Revoked %s.\n", c.Name)
	return err
}
