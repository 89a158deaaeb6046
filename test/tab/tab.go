// Package tab drives Debian's Chromium in tests. A tab fails its test on whatever a page of Noctua must not do: script errors, breaches of
// the content policy, message boxes, requests that leave the host, answers that are errors.
package tab

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/noctua-screening/noctua/test/axe"
)

// Tab is a browser with one tab.
type Tab struct {
	T   *testing.T
	Ctx context.Context //nolint:containedctx // the tab's: chromedp keeps the tab in it
	// Shots is where pictures go: NOCTUA_SCREENSHOTS, or a folder that is removed after the test.
	Shots string

	mu     sync.Mutex
	weight int64
}

// Program finds the browser. Without it the test is skipped loudly; under CI it fails. A test that starts something of its own asks first.
func Program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped by -short: a browser takes minutes beside the race detector, and races are none of its own")
	}
	for _, name := range []string{os.Getenv("NOCTUA_CHROMIUM"), "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"} {
		if _, err := os.Stat(name); name != "" && err == nil {
			return name
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("there is no Chromium under CI; install Debian's package chromium or set NOCTUA_CHROMIUM")
	}
	t.Skip("SKIPPED, NOT RUN: there is no Chromium; install Debian's package chromium or set NOCTUA_CHROMIUM")
	return ""
}

// Open starts a browser of 1366 × 768 in light colours for as long as timeout. Pages of other hosts than host (with its port) fail the test,
// and so do answers that are errors other than 401 and expected ones.
func Open(t *testing.T, host string, timeout time.Duration, expected ...int) *Tab {
	t.Helper()
	program := Program(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.UserDataDir(t.TempDir()))
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, timeout)
	t.Cleanup(cancel)
	b := &Tab{T: t, Ctx: ctx, Shots: os.Getenv("NOCTUA_SCREENSHOTS")}
	if b.Shots == "" {
		b.Shots = t.TempDir()
	}
	if err := b.watch(host, expected); err != nil {
		t.Fatal(err)
	}
	b.Run("opening", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	}), Size(1366, 768, "light"))
	return b
}

func (b *Tab) watch(host string, expected []int) error {
	t := b.T
	return chromedp.Listen(b.Ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("script error: %s", ev.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.ConsoleAPICalledTypeError {
				t.Errorf("console error: %v", ev.Args)
			}
		case *cdplog.EventEntryAdded:
			if e := ev.Entry; e.Level == cdplog.EntryLevelError && e.Source != cdplog.EntrySourceNetwork {
				t.Errorf("%s error: %s", e.Source, e.Text)
			}
		case *page.EventJavascriptDialogOpening:
			t.Errorf("a dialog opened: %s", ev.Message)
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(ev.Request.URL); err != nil || u.Host != host {
				t.Errorf("a request left the host: %s", ev.Request.URL)
			}
		case *network.EventResponseReceived:
			if status := int(ev.Response.Status); status >= 400 && status != 401 && !slices.Contains(expected, status) {
				t.Errorf("%s answered %d", ev.Response.URL, ev.Response.Status)
			}
		case *network.EventLoadingFinished:
			b.mu.Lock()
			b.weight += int64(ev.EncodedDataLength)
			b.mu.Unlock()
		}
	})
}

// Weight is how many bytes have come over the network since the last call.
func (b *Tab) Weight() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.weight
	b.weight = 0
	return n
}

// Run does steps, and ends the test where one fails.
func (b *Tab) Run(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	if err := chromedp.Do(b.Ctx, actions...); err != nil {
		b.T.Fatalf("%s: %v", what, err)
	}
}

// Shot takes a picture of the whole page, which must not scroll sideways, and has its accessibility judged.
func (b *Tab) Shot(name string) {
	b.T.Helper()
	if Evaluate[bool](b, `document.documentElement.scrollWidth > innerWidth`) {
		b.T.Errorf("%s scrolls sideways", name)
	}
	const loaded = `Promise.all([...[...document.images].map((i) => { i.loading = "eager"; return i.decode(); }),
		...document.getAnimations().filter((a) => a.effect.getComputedTiming().endTime !== Infinity).map((a) => a.finished)].map((p) => p.catch(() => 0))).then(() => true)`
	if _, err := chromedp.Run(b.Ctx, chromedp.Evaluate[bool](loaded, chromedp.EvalAwaitPromise)); err != nil {
		b.T.Fatal(err)
	}
	axe.Check(b.Ctx, b.T, name)
	raw, err := chromedp.Run(b.Ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.T.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Shots, name+".png"), raw, 0o600); err != nil {
		b.T.Fatal(err)
	}
}

// Text is what an element shows.
func (b *Tab) Text(selector string) string {
	b.T.Helper()
	got, err := chromedp.Run(b.Ctx, chromedp.Text(selector))
	if err != nil {
		b.T.Fatal(err)
	}
	return got
}

// Evaluate is the value of an expression on the page.
func Evaluate[T any](b *Tab, expression string) T {
	b.T.Helper()
	got, err := chromedp.Run(b.Ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.T.Fatalf("evaluating %s: %v", expression, err)
	}
	return got
}

// Size sets the window and the colour scheme.
func Size(width, height int64, scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}
