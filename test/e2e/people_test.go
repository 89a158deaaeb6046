package e2e

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// visitor is a person's browser, as far as it takes one.
type visitor struct {
	t      *testing.T
	web    string
	client *http.Client
}

func newVisitor(t *testing.T, web string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, web: web, client: &http.Client{Jar: jar}}
}

// visit asks for a page, or posts a form, and returns where that led, and what is there.
func (v *visitor) visit(path string, form url.Values) (status int, at, body string) {
	v.t.Helper()
	method, reader := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, reader = http.MethodPost, strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, v.web+path, reader)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Origin", v.web)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer.StatusCode, answer.Request.URL.Path, string(raw)
}

func (v *visitor) want(what string, form url.Values, path string, status int, at, text string) {
	v.t.Helper()
	if gotStatus, gotAt, body := v.visit(path, form); gotStatus != status || gotAt != at || !strings.Contains(body, text) {
		v.t.Fatalf("%s: %d at %s, want %d at %s with %q: %s", what, gotStatus, gotAt, status, at, text, body)
	}
}

// firstPassword reads the file that the first start leaves.
func firstPassword(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`password  (\S+)`).FindSubmatch(raw)
	if info, err := os.Stat(path); found == nil || err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%s: %v", raw, err)
	}
	return string(found[1])
}

// TestFirstSignIn: the first start says how to sign in; the password is changed, and holds over a restart; a disabled account is out at once.
func TestFirstSignIn(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	n := startAllInOne(t, data)
	note := filepath.Join(data, "FIRST-SIGN-IN.txt")
	first := firstPassword(t, note)
	if !strings.Contains(n.log.String(), first) {
		t.Error("noctua run does not print how to sign in")
	}
	const chosen = "three tall owls at dusk"
	signIn := func(password string) url.Values {
		return url.Values{"name": {"operator"}, "password": {password}, "next": {"/system"}}
	}
	v := newVisitor(t, n.web)
	v.want("a stranger", nil, "/system", http.StatusUnauthorized, "/system", "Password")
	v.want("the first password", signIn(first), "/signin", http.StatusOK, "/account", "Choose a password of your own")
	v.want("another password", url.Values{"current": {first}, "new": {chosen}, "repeat": {chosen}, "next": {"/system"}}, "/account/password", http.StatusOK, "/system", "Segment workers")
	if _, err := os.Stat(note); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first password is kept: %v", err)
	}
	n.stop()
	n = startAllInOne(t, data)
	for _, secret := range []string{first, chosen} {
		if strings.Contains(n.log.String(), secret) {
			t.Error("a password is printed")
		}
	}
	v = newVisitor(t, n.web)
	v.want("the first password", signIn(first), "/signin", http.StatusUnauthorized, "/signin", "not the name and password")
	v.want("the chosen one", signIn(chosen), "/signin", http.StatusOK, "/system", "Segment workers")
	mustCommand(t, "account", "disable", "operator", "--data", data)
	v.want("disabled", nil, "/system", http.StatusUnauthorized, "/system", "Password")
	v.want("signing in", signIn(chosen), "/signin", http.StatusUnauthorized, "/signin", "not the name and password")
	n.stop()
}

// TestSystemOfACluster: the page says which process and which server is gone, and that they are back.
func TestSystemOfACluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := startCluster(t, "--database", filepath.Join(dir, "index.sqlite"), "--accounts", filepath.Join(dir, "accounts.json"))
	first := firstPassword(t, filepath.Join(dir, "FIRST-SIGN-IN.txt"))
	if log := c.report.log.String(); strings.Contains(log, first) || !strings.Contains(log, "FIRST-SIGN-IN.txt") {
		t.Errorf("the log of noctua report should name the file and not the password: %s", log)
	}
	v := newVisitor(t, c.web)
	v.want("signing in", url.Values{"name": {"operator"}, "password": {first}}, "/signin", http.StatusOK, "/account", "Choose a password")
	lamps := func(want map[string]string) {
		t.Helper()
		eventually(t, readyTimeout*4, fmt.Sprint("the lamps are not ", want), func() error {
			var doc struct {
				Parts []struct{ Name, Lamp, Text string }
			}
			getJSON(t, c.web, clusterToken, "/api/system", &doc)
			for _, p := range doc.Parts {
				if lamp, asked := want[p.Name]; asked && lamp != p.Lamp {
					return fmt.Errorf("%+v", p)
				}
			}
			if code, body := get(t, c.web, clusterToken, "/readyz"); code != http.StatusOK {
				return fmt.Errorf("/readyz answers %d %s", code, body)
			}
			return nil
		})
	}
	lamps(map[string]string{"Report index": "green", "NATS": "green", "S3": "green", "Segment workers": "green", "Disk": "green"})
	c.segment.kill()
	lamps(map[string]string{"NATS": "green", "S3": "green", "Segment workers": "red"})
	c.nats.Kill()
	lamps(map[string]string{"NATS": "red", "S3": "green", "Report index": "green"})
	c.nats.Restart()
	c.segment = c.start("segment", "--nats-url", c.nats.URL)
	lamps(map[string]string{"NATS": "green", "S3": "green", "Segment workers": "green"})
	c.s3.Kill()
	lamps(map[string]string{"NATS": "green", "S3": "red", "Report index": "green"})
	c.s3.Restart()
	lamps(map[string]string{"S3": "green"})
}
