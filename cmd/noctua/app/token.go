package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/noctua-screening/noctua/pkg/token"
)

// tokenCommand keeps the tokens of programs that may do one thing alone.
type tokenCommand struct {
	Create tokenCreateCommand `cmd:"" help:"Make a token and print it, this once."`
	List   tokenListCommand   `cmd:"" help:"List the tokens by name and scope."`
	Revoke tokenRevokeCommand `cmd:"" help:"Revoke a token; it stops working at once."`
}

// tokenFlags say where the tokens are.
type tokenFlags struct {
	Data string `help:"Data folder; the tokens lie in tokens.json inside it." default:"./noctua-data" env:"NOCTUA_DATA" placeholder:"DIR"`
	File string `help:"File of the tokens, instead of --data: the one that noctua ingest has as --stow-tokens." placeholder:"FILE"`
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

type tokenCreateCommand struct {
	tokenFlags `embed:""`
	Scope      string `required:"" help:"What it may do: upload:CLINIC sends pictures for that clinic, upload for any clinic that the sender names." placeholder:"SCOPE"`
	Name       string `arg:"" help:"Whose token it is, for lists and logs, e.g. pacs-north."`
}

// Run makes a token. It goes to standard output alone, so that a script can take it.
func (c *tokenCreateCommand) Run(inv *invocation) error {
	entries, err := c.read()
	if err != nil {
		return err
	}
	secret, entry, err := token.New(c.Name, c.Scope, time.Now())
	if err != nil {
		return err
	}
	if entries, err = token.Add(entries, entry); err != nil {
		return err
	}
	if err := writeJSONFile(c.path(), token.Encode(entries)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(inv.err, "Made the token %s with the scope %s. It is shown this once; %s holds its SHA-256 alone.\n", entry.Name, entry.Scope, c.path()); err != nil {
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
	_, err = fmt.Fprintln(table, "NAME\tSCOPE\tMADE")
	for _, e := range entries {
		_, lineErr := fmt.Fprintf(table, "%s\t%s\t%s\n", e.Name, e.Scope, e.CreatedAt.Format(time.RFC3339))
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
