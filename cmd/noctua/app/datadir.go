package app

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/noctua-screening/noctua/pkg/fault"
)

// Names inside the data folder.
const (
	lockFile     = "noctua.lock"
	secretsFile  = "secrets.json"
	tokensFile   = "tokens.json" // of programs that may do one thing alone
	endpointFile = "endpoint.json"
	dropFolder   = "drop"
	indexFile    = "index.sqlite"
)

// secrets are made once for a data folder and never printed, but for what a user needs to connect.
type secrets struct {
	S3AccessKey string `json:"s3_access_key"`
	S3SecretKey string `json:"s3_secret_key"`
	APIToken    string `json:"api_token"`
	SiteSecret  string `json:"site_secret"` // keys the hashes that stand for patients in object keys
}

// endpoint tells client commands where the Noctua of this data folder listens.
type endpoint struct {
	WebURL      string    `json:"web_url"`
	S3URL       string    `json:"s3_url"`
	InboxBucket string    `json:"inbox_bucket"`
	Certificate string    `json:"certificate,omitempty"` // file of the certificate that the page has, if any
	ProcessID   int       `json:"process_id"`
	StartedAt   time.Time `json:"started_at"`
}

// lockDataDir makes the data folder and takes its lock, which the kernel gives back when the process ends, however it ends.
func lockDataDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the data folder's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			holder, _ := os.ReadFile(f.Name()) // for the message alone
			return nil, fault.New(fault.Conflict, "data-folder-in-use",
				"another Noctua (process %s) is already running on %s; stop it, or give another folder with --data", strings.TrimSpace(string(holder)), dir)
		}
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("writing the data folder's lock: %w", err)
	}
	if _, err := fmt.Fprintf(f, "%d\n", os.Getpid()); err != nil {
		return nil, fmt.Errorf("writing the data folder's lock: %w", err)
	}
	return f, nil
}

// loadOrMakeSecrets reads the data folder's secrets, or makes them on the first start.
func loadOrMakeSecrets(dir string) (secrets, error) {
	path := filepath.Join(dir, secretsFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		s := secrets{S3AccessKey: "noctua-" + randomHex(4), S3SecretKey: randomHex(20), APIToken: randomHex(20), SiteSecret: randomHex(32)}
		return s, writeJSONFile(path, s)
	}
	if err != nil {
		return secrets{}, fmt.Errorf("reading the secrets: %w", err)
	}
	var s secrets
	if err := json.Unmarshal(raw, &s); err != nil {
		return secrets{}, fault.Wrap(fault.Invalid, "secrets-damaged", err, "%s is damaged; restore it from a backup, since a new site secret would give every patient a new key", path)
	}
	if s.S3AccessKey == "" || s.S3SecretKey == "" || s.APIToken == "" || s.SiteSecret == "" {
		return secrets{}, fault.New(fault.Invalid, "secrets-damaged", "%s lacks a secret; restore it from a backup", path)
	}
	return s, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)
}

// writeJSONFile writes value with mode 0600, whole or not at all, and on disk when it returns.
func writeJSONFile(path string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", filepath.Base(path), err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after the rename
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}
