package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/noctua-screening/noctua/pkg/access"
	"github.com/noctua-screening/noctua/pkg/fault"
	"github.com/noctua-screening/noctua/pkg/reread"
)

// FirstSignInFile lies beside the accounts from the first start until the password of OperatorName is changed, and says how to sign in.
const FirstSignInFile = "FIRST-SIGN-IN.txt"

// Config of Accounts.
type Config struct {
	// Path of the file. One that is missing has no accounts.
	Path string
	// Cost of new hashes. Default DefaultCost.
	Cost  Cost
	Clock func() time.Time // default time.Now
}

// Accounts are those of a file. They may be used by many goroutines at once.
type Accounts struct {
	cfg   Config
	turns turns
	// nobody is what the password of a name is compared with that has no account, so that it takes as long.
	nobody hashed

	file *reread.File[[]Entry]
}

// Open returns the accounts of a file, which need not be there yet.
func Open(cfg Config) *Accounts {
	if cfg.Cost == (Cost{}) {
		cfg.Cost = DefaultCost()
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Accounts{cfg: cfg, file: reread.New[[]Entry](cfg.Path), turns: newTurns(), nobody: hashed{cost: cfg.Cost, salt: make([]byte, saltBytes), key: make([]byte, keyBytes)}}
}

// Entries are the accounts now, by name. Faults: Invalid accounts-damaged, Transient accounts-unreadable.
func (a *Accounts) Entries() ([]Entry, error) { return a.file.Get(a.read) }

func (a *Accounts) read() ([]Entry, error) {
	unreadable := func(err error) error {
		return fault.Wrap(fault.Transient, "accounts-unreadable", err, "the file of accounts cannot be read")
	}
	f, err := os.Open(a.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	defer func() { _ = f.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, unreadable(err)
	}
	return decode(raw)
}

// ByName returns an account that is not disabled; false if there is none.
func (a *Accounts) ByName(name string) (Entry, bool, error) {
	entries, err := a.Entries()
	if err != nil {
		return Entry{}, false, err
	}
	e, n := find(entries, name)
	return e, n >= 0 && !e.Disabled, nil
}

// Check tells whose account has that name and password; false if nobody's, or if it is disabled. All three take as long.
//
// Fault: Transient sign-in-busy where too many passwords are being checked.
func (a *Accounts) Check(ctx context.Context, name, password string) (Entry, bool, error) {
	entries, err := a.Entries()
	if err != nil {
		return Entry{}, false, err
	}
	e, n := find(entries, name)
	compared := a.nobody
	if n >= 0 {
		compared, _ = parse(e.Password) // it was read, so it is whole
	}
	done, err := a.turns.take(ctx)
	if err != nil {
		return Entry{}, false, err
	}
	defer done()
	// Too long a password is none, and is not hashed: a request cannot make the hash dearer.
	right := compared.matches(password[:min(len(password), maxPasswordBytes)])
	return e, n >= 0 && right && len(password) <= maxPasswordBytes && !e.Disabled, nil
}

// maxPasswordBytes of what is hashed: MaxPassword characters of UTF-8.
const maxPasswordBytes = 4 * MaxPassword

// Names are the accounts, sorted, each with its scopes and whether it is disabled in brackets.
func (a *Accounts) Names() ([]string, error) {
	entries, err := a.Entries()
	var names []string
	for _, e := range entries {
		text := e.Name + " (" + e.Scope
		if e.Disabled {
			text += "; disabled"
		}
		names = append(names, text+")")
	}
	slices.Sort(names)
	return names, err
}

// Create adds an account. mustChange: whoever has it chooses another password when they sign in.
//
// Faults: Invalid account-name-invalid, password-weak, token-scope-invalid; Conflict account-exists, accounts-full.
func (a *Accounts) Create(ctx context.Context, name, scope, password string, mustChange bool) (Entry, error) {
	if !namePattern.MatchString(name) {
		return Entry{}, fault.New(fault.Invalid, "account-name-invalid", "the name of an account should be 1 to 64 small letters, digits, dots, @, - and _, e.g. anna.schmidt")
	}
	grants, err := access.ParseAll(scope)
	if err != nil {
		return Entry{}, err
	}
	var words []string
	for _, g := range grants {
		words = append(words, g.String())
	}
	encoded, err := a.hash(ctx, name, password)
	if err != nil {
		return Entry{}, err
	}
	now := a.cfg.Clock().UTC().Truncate(time.Second)
	created := Entry{Name: name, Password: encoded, Scope: strings.Join(words, " "), CreatedAt: now, ChangedAt: now, MustChange: mustChange}
	return created, a.change(func(entries []Entry) ([]Entry, error) {
		if _, n := find(entries, name); n >= 0 {
			return nil, fault.New(fault.Conflict, "account-exists", "there is an account %s already; choose another name, or remove it first", name)
		}
		if len(entries) >= maxAccounts {
			return nil, fault.New(fault.Conflict, "accounts-full", "there are %d accounts already, which is the most; remove one first", maxAccounts)
		}
		return append(entries, created), nil
	})
}

func (a *Accounts) hash(ctx context.Context, name, password string) (string, error) {
	if err := CheckPassword(name, password); err != nil {
		return "", err
	}
	done, err := a.turns.take(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return hash(password, a.cfg.Cost), nil
}

// SetPassword gives an account another password, which ends its sessions. mustChange is as for Create. The file that says how to sign in for the
// first time goes when the operator's password is changed.
//
// Faults: NotFound account-unknown, Invalid password-weak.
func (a *Accounts) SetPassword(ctx context.Context, name, password string, mustChange bool) (Entry, error) {
	encoded, err := a.hash(ctx, name, password)
	if err != nil {
		return Entry{}, err
	}
	changed, err := a.edit(name, func(e *Entry) {
		e.Password, e.ChangedAt, e.MustChange = encoded, a.cfg.Clock().UTC().Truncate(time.Second), mustChange
	})
	if err != nil || name != OperatorName {
		return changed, err
	}
	if err := os.Remove(a.FirstSignIn()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return changed, fault.Wrap(fault.Internal, "first-sign-in-kept", err, "the password is changed, but %s with the old one could not be removed; remove it", FirstSignInFile)
	}
	return changed, nil
}

// SetDisabled disables an account, or enables it again. Fault: NotFound account-unknown.
func (a *Accounts) SetDisabled(name string, disabled bool) (Entry, error) {
	return a.edit(name, func(e *Entry) { e.Disabled = disabled })
}

// Remove takes an account away. Fault: NotFound account-unknown.
func (a *Accounts) Remove(name string) error {
	return a.change(func(entries []Entry) ([]Entry, error) {
		_, n := find(entries, name)
		if n < 0 {
			return nil, unknown(name)
		}
		return slices.Delete(entries, n, n+1), nil
	})
}

func (a *Accounts) edit(name string, do func(*Entry)) (changed Entry, err error) {
	err = a.change(func(entries []Entry) ([]Entry, error) {
		_, n := find(entries, name)
		if n < 0 {
			return nil, unknown(name)
		}
		do(&entries[n])
		changed = entries[n]
		return entries, nil
	})
	return changed, err
}

func unknown(name string) error {
	return fault.New(fault.NotFound, "account-unknown", "there is no account %s; noctua account list shows them", name)
}

// FirstSignIn is the path of FirstSignInFile.
func (a *Accounts) FirstSignIn() string {
	return filepath.Join(filepath.Dir(a.cfg.Path), FirstSignInFile)
}

// EnsureOperator makes the account OperatorName where the file is not there yet, with a generated password that FirstSignInFile has, and returns the
// password; "" where there is a file, also one that another process makes at this moment.
func (a *Accounts) EnsureOperator(ctx context.Context) (password string, err error) {
	if there, err := a.there(); there || err != nil {
		return "", err
	}
	var scopes []string
	for _, s := range access.Scopes() {
		scopes = append(scopes, string(s))
	}
	made := Generate()
	encoded, err := a.hash(ctx, OperatorName, made)
	if err != nil {
		return "", err
	}
	now := a.cfg.Clock().UTC().Truncate(time.Second)
	err = a.change(func(entries []Entry) ([]Entry, error) {
		if there, err := a.there(); there || err != nil {
			return entries, err
		}
		// Before the account, so that nobody is left with one whose password nobody knows.
		text := fmt.Sprintf("Sign in to Noctua's page with\n\n    name      %s\n    password  %s\n\nYou will be asked for a password of your own; then this file goes.\n", OperatorName, made)
		if err := writeFile(a.FirstSignIn(), []byte(text)); err != nil {
			return nil, err
		}
		password = made
		return []Entry{{Name: OperatorName, Password: encoded, Scope: strings.Join(scopes, " "), CreatedAt: now, ChangedAt: now, MustChange: true}}, nil
	})
	return password, err
}

// there tells whether there is a file, and fails if it cannot be read.
func (a *Accounts) there() (bool, error) {
	if _, err := os.Stat(a.cfg.Path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	_, err := a.Entries()
	return true, err
}

// change reads the file, lets do change the accounts, and writes them, while no other process does.
func (a *Accounts) change(do func([]Entry) ([]Entry, error)) (err error) {
	lock, err := os.OpenFile(a.cfg.Path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unwritable(err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // closing gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return unwritable(err)
	}
	entries, err := a.read()
	if err != nil {
		return err
	}
	if entries, err = do(slices.Clone(entries)); err != nil {
		return err
	}
	raw, err := encode(entries)
	if err != nil {
		return fmt.Errorf("encoding the accounts: %w", err)
	}
	if err := writeFile(a.cfg.Path, raw); err != nil {
		return err
	}
	a.file.Forget()
	return nil
}

func unwritable(err error) error {
	return fault.Wrap(fault.Internal, "accounts-unwritable", err, "the file of accounts cannot be written; is its folder there, writable and not full?")
}

// writeFile writes a file with mode 0600, whole or not at all, and on disk when it returns.
func writeFile(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return unwritable(err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after the rename
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return unwritable(err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return unwritable(err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return unwritable(err)
	}
	return nil
}
