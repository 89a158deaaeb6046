package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/noctua-screening/noctua/pkg/account"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// accountsFile holds the accounts of people in the data folder.
const accountsFile = "accounts.json"

// accountCommand keeps the accounts of people.
type accountCommand struct {
	Create   accountCreateCommand   `cmd:"" help:"Make an account, and print its first password, this once."`
	List     accountListCommand     `cmd:"" help:"List the accounts by name and scope."`
	Password accountPasswordCommand `cmd:"" help:"Give an account another password, which signs it out everywhere."`
	Disable  accountDisableCommand  `cmd:"" help:"Let an account sign in no more; it is signed out at once."`
	Enable   accountEnableCommand   `cmd:"" help:"Let a disabled account sign in again."`
	Remove   accountRemoveCommand   `cmd:"" help:"Remove an account."`
}

// accountFlags say where the accounts are.
type accountFlags struct {
	Data string `help:"Data folder; the accounts lie in accounts.json inside it." default:"./noctua-data" env:"NOCTUA_DATA" placeholder:"DIR"`
	File string `help:"File of the accounts, instead of --data: the one that noctua report has as --accounts." placeholder:"FILE"`
}

func (f accountFlags) open() *account.Accounts {
	path := f.File
	if path == "" {
		path = filepath.Join(f.Data, accountsFile)
	}
	return account.Open(account.Config{Path: path})
}

// passwordFlags say where a password comes from. It is no flag: command lines are seen by everybody on the machine.
type passwordFlags struct {
	PasswordStdin bool `help:"Read the password from standard input, one line; from a terminal it is asked for twice. Without it one is made, and has to be changed at the next sign-in."`
}

// password is the one that is given, or one that is made.
func (f passwordFlags) password(in *os.File, ask io.Writer) (password string, made bool, err error) {
	if !f.PasswordStdin {
		return account.Generate(), true, nil
	}
	if !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", false, fmt.Errorf("reading the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), false, nil
	}
	var typed [2]string
	for n, prompt := range []string{"Password: ", "Again: "} {
		if _, err := fmt.Fprint(ask, prompt); err != nil {
			return "", false, err
		}
		raw, err := term.ReadPassword(int(in.Fd()))
		if err != nil {
			return "", false, fmt.Errorf("reading the password: %w", err)
		}
		if _, err := fmt.Fprintln(ask); err != nil {
			return "", false, err
		}
		typed[n] = string(raw)
	}
	if typed[0] != typed[1] {
		return "", false, fault.New(fault.Invalid, "password-unequal", "the two passwords are not the same; try again")
	}
	return typed[0], false, nil
}

type accountCreateCommand struct {
	accountFlags  `embed:""`
	passwordFlags `embed:""`
	Scope         []string `required:"" help:"What it may do, once for each, as for noctua token create: report.read, operate or upload, each for all clinics or for one (operate:north); audit.read." placeholder:"SCOPE"`
	Name          string   `arg:"" help:"Name to sign in with: small letters, digits, dots, @, - and _, e.g. anna.schmidt."`
}

// Run makes an account. A password that was made goes to standard output alone, so that a script can take it.
func (c *accountCreateCommand) Run(inv *invocation) error {
	password, made, err := c.password(os.Stdin, inv.err)
	if err != nil {
		return err
	}
	e, err := c.open().Create(inv.ctx, c.Name, strings.Join(c.Scope, " "), password, made)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(inv.err, "Made the account %s with the scope %s.\n", e.Name, e.Scope); err != nil {
		return err
	}
	return printPassword(inv, password, made)
}

func printPassword(inv *invocation, password string, made bool) error {
	if !made {
		return nil
	}
	if _, err := fmt.Fprintln(inv.err, "The first password is shown this once, and has to be changed at the next sign-in:"); err != nil {
		return err
	}
	_, err := fmt.Fprintln(inv.out, password)
	return err
}

type accountListCommand struct {
	accountFlags `embed:""`
}

// Run lists the accounts.
func (c *accountListCommand) Run(inv *invocation) error {
	entries, err := c.open().Entries()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(inv.out, 0, 0, 2, ' ', 0)
	_, err = fmt.Fprintln(table, "NAME\tSCOPE\tMADE\tPASSWORD OF\tSTATE")
	for _, e := range entries {
		state := "active"
		switch {
		case e.Disabled:
			state = "disabled"
		case e.MustChange:
			state = "must choose a password"
		}
		_, lineErr := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.Name, e.Scope, e.CreatedAt.Format(time.RFC3339), e.ChangedAt.Format(time.RFC3339), state)
		err = errors.Join(err, lineErr)
	}
	return errors.Join(err, table.Flush())
}

// accountName is the account that a command is about.
type accountName struct {
	Name string `arg:"" help:"Name of the account."`
}

type accountPasswordCommand struct {
	accountFlags  `embed:""`
	passwordFlags `embed:""`
	accountName   `embed:""`
}

// Run gives an account another password.
func (c *accountPasswordCommand) Run(inv *invocation) error {
	password, made, err := c.password(os.Stdin, inv.err)
	if err != nil {
		return err
	}
	if _, err := c.open().SetPassword(inv.ctx, c.Name, password, made); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(inv.err, "Changed the password of %s, who is signed out everywhere.\n", c.Name); err != nil {
		return err
	}
	return printPassword(inv, password, made)
}

type accountDisableCommand struct {
	accountFlags `embed:""`
	accountName  `embed:""`
}

// Run disables an account.
func (c *accountDisableCommand) Run(inv *invocation) error {
	return said(inv, "Disabled %s.\n", c.Name, disable(c.open(), c.Name, true))
}

type accountEnableCommand struct {
	accountFlags `embed:""`
	accountName  `embed:""`
}

// Run enables an account.
func (c *accountEnableCommand) Run(inv *invocation) error {
	return said(inv, "Enabled %s.\n", c.Name, disable(c.open(), c.Name, false))
}

type accountRemoveCommand struct {
	accountFlags `embed:""`
	accountName  `embed:""`
}

// Run removes an account.
func (c *accountRemoveCommand) Run(inv *invocation) error {
	return said(inv, "Removed %s.\n", c.Name, c.open().Remove(c.Name))
}

func disable(a *account.Accounts, name string, disabled bool) error {
	_, err := a.SetDisabled(name, disabled)
	return err
}

// said says what was done, if it was.
func said(inv *invocation, format, name string, err error) error {
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(inv.out, format, name)
	return err
}

// openAccounts opens the accounts of a service, and makes the operator's where there are none yet. password is the operator's, at that one time.
func openAccounts(ctx context.Context, path string) (accounts *account.Accounts, password string, err error) {
	// Absolute, since the S3 server changes the working directory of the process.
	if path, err = filepath.Abs(path); err != nil {
		return nil, "", fmt.Errorf("finding the file of accounts: %w", err)
	}
	accounts = account.Open(account.Config{Path: path})
	if password, err = accounts.EnsureOperator(ctx); err != nil {
		return nil, "", fmt.Errorf("reading %s: %w", path, err)
	}
	return accounts, password, nil
}

// signInAnnouncement says how to sign in: with the password at the first start, and where it is until it was changed.
func signInAnnouncement(accounts *account.Accounts, password string) string {
	if password != "" {
		return fmt.Sprintf("name %s   password %s   (you will be asked for one of your own)", account.OperatorName, password)
	}
	if _, err := os.Stat(accounts.FirstSignIn()); err == nil {
		return fmt.Sprintf("name %s   password in %s", account.OperatorName, accounts.FirstSignIn())
	}
	return "with your account (noctua account list shows them)"
}
