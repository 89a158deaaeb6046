// Package axe judges the accessibility of a page in a browser by axe-core, against WCAG 2.2 levels A and AA and its own best practices.
package axe

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/noctua-screening/noctua/test/shared"
)

// Violation is a rule that elements of a page break.
type Violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		Target         []any
		FailureSummary string `json:"failureSummary"`
	}
}

var source = struct {
	once sync.Once
	text string
	err  error
}{}

// load reads axe-core, which `make test` installs.
func load(t testing.TB) string {
	t.Helper()
	source.once.Do(func() {
		raw, err := os.ReadFile(filepath.Join(shared.Root(t), "test", "axe", "node_modules", "axe-core", "axe.min.js"))
		source.text, source.err = string(raw), err
	})
	return source.text
}

// Check fails the test on every serious or critical violation of the page that is shown, and logs lesser ones. Without axe-core it says that
// nothing was judged; under CI=true that is a failure.
func Check(ctx context.Context, t testing.TB, name string) {
	t.Helper()
	script := load(t)
	if script == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("axe-core is missing under CI: %v", source.err)
		}
		t.Logf("NOT JUDGED: axe-core is missing, so that nobody looked at the accessibility of %s; run make test-deps", name)
		return
	}
	violations, err := judge(ctx, script)
	if err != nil {
		t.Fatalf("axe-core on %s: %v", name, err)
	}
	for _, v := range violations {
		say := t.Logf
		if v.Impact == "serious" || v.Impact == "critical" {
			say = t.Errorf
		}
		for _, n := range v.Nodes {
			say("%s: %s (%s, %s) at %v: %s", name, v.Help, v.ID, v.Impact, n.Target, n.FailureSummary)
		}
	}
}

// judge returns what breaks rules on the page that is shown. A page on which nothing could be looked at is an error.
func judge(ctx context.Context, script string) ([]Violation, error) {
	const run = `axe.run(document, {runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}, resultTypes: ["violations"]})
		.then((r) => JSON.stringify({checked: r.passes.length + r.violations.length, violations: r.violations}))`
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script+"\n;true")); err != nil {
		return nil, err
	}
	raw, err := chromedp.Run(ctx, chromedp.Evaluate[string](run, chromedp.EvalAwaitPromise))
	if err != nil {
		return nil, err
	}
	var found struct {
		Checked    int
		Violations []Violation
	}
	if err := json.Unmarshal([]byte(raw), &found); err != nil {
		return nil, err
	}
	if found.Checked == 0 {
		return nil, errors.New("it looked at nothing")
	}
	return found.Violations, nil
}
