// Command screenshots signs in to a running Noctua in a real browser, takes a picture of each page at three sizes, light and dark, and says what
// each page weighs and how long it takes: `make screenshots`.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const (
	pageTimeout = 5 * time.Minute
	settle      = 1500 * time.Millisecond // for pictures to be drawn
)

// window is a size and a colour scheme to look at the pages in.
type window struct {
	name          string
	width, height int64
	scheme        string
}

var windows = []window{{"laptop-light", 1366, 768, "light"}, {"laptop-dark", 1366, 768, "dark"}, {"tablet-light", 820, 1180, "light"}, {"large-dark", 1920, 1080, "dark"}}

func main() {
	data := flag.String("data", "./noctua-data", "data folder of a running Noctua")
	out := flag.String("out", "out/screenshots", "folder for the pictures")
	whole := flag.Bool("whole", true, "take pictures of whole pages, not of what a window shows at first")
	flag.Parse()
	if err := run(*data, *out, *whole); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

// look is a page: its address, or the link on another page that leads to it.
type look struct{ name, address, link string }

var looks = []look{
	{name: "tonight", address: "/"},
	{name: "nights", address: "/nights"},
	{name: "night", address: "/nights", link: `main a[href^="/nights/"]`},
	{name: "patients", address: "/patients"},
	{name: "patient", address: "/patients", link: `main a[href^="/patients/"]`},
	{name: "quarantine", address: "/quarantine"},
	{name: "quarantined", address: "/quarantine", link: `main a[href^="/quarantine/"]`},
	{name: "system", address: "/system"},
	{name: "account", address: "/account"},
}

func run(data, out string, whole bool) error {
	var endpoint struct {
		WebURL string `json:"web_url"`
	}
	var secrets struct {
		Token string `json:"api_token"`
	}
	if err := errors.Join(readJSON(filepath.Join(data, "endpoint.json"), &endpoint), readJSON(filepath.Join(data, "secrets.json"), &secrets)); err != nil {
		return fmt.Errorf("no Noctua runs on %s: %w", data, err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-background-networking", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	// The first call starts the browser, which lives as long as its context: the timeout is for what follows.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(windows[0].width, windows[0].height)); err != nil {
		return fmt.Errorf("starting the browser: %w", err)
	}
	ctx, cancelTimeout := context.WithTimeout(ctx, pageTimeout)
	defer cancelTimeout()
	s := studio{ctx: ctx, url: endpoint.WebURL, out: out, whole: whole, table: tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)}
	for n, w := range windows {
		if err := s.resize(w); err != nil {
			return err
		}
		if n == 0 {
			if err := s.signIn(secrets.Token); err != nil {
				return err
			}
		}
		for _, l := range looks {
			if err := s.take(l, w); err != nil {
				return fmt.Errorf("%s at %s: %w", l.name, w.name, err)
			}
		}
	}
	return s.table.Flush()
}

// studio takes the pictures.
type studio struct {
	ctx      context.Context //nolint:containedctx // the tab's: chromedp keeps the tab in it
	url, out string
	whole    bool
	table    *tabwriter.Writer
}

func (s studio) resize(w window) error {
	if err := chromedp.Do(s.ctx, chromedp.EmulateViewport(w.width, w.height), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: w.scheme}}})
		return err
	})); err != nil {
		return fmt.Errorf("making the window %s: %w", w.name, err)
	}
	return nil
}

func (s studio) signIn(token string) error {
	if err := chromedp.Do(s.ctx, chromedp.Navigate(s.url+"/signin"), chromedp.WaitVisible(".signin")); err != nil {
		return fmt.Errorf("the sign-in page: %w", err)
	}
	if err := s.shoot("sign-in"); err != nil {
		return err
	}
	if err := chromedp.Do(s.ctx, chromedp.Click(".with-token summary"), chromedp.SendKeys("#token", token+"\r"), chromedp.WaitVisible("nav")); err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	return nil
}

// weight is what a page and everything that it loaded weighed on the network, and when it was there.
type weight struct {
	Requests int
	Bytes    int
	FirstMs  float64 // the page itself was there
	LoadedMs float64 // and everything that it names
}

const weigh = `(() => {
	const page = performance.getEntriesByType("navigation")[0], all = performance.getEntriesByType("resource");
	return {Requests: all.length + 1, Bytes: all.reduce((n, r) => n + r.transferSize, page.transferSize), FirstMs: page.responseEnd, LoadedMs: page.loadEventEnd};
})()`

func (s studio) take(l look, w window) error {
	address := s.url + l.address
	if err := chromedp.Do(s.ctx, chromedp.Navigate(address)); err != nil {
		return err
	}
	if l.link != "" {
		link, err := chromedp.Run(s.ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.getAttribute("href") ?? ""`, l.link)))
		if err != nil {
			return err
		}
		if link == "" {
			_, err := fmt.Fprintf(s.table, "%s\t%s\tthere is none yet\n", w.name, l.name)
			return err
		}
		if err := chromedp.Do(s.ctx, chromedp.Navigate(s.url+link)); err != nil {
			return err
		}
	}
	if err := chromedp.Do(s.ctx, chromedp.Sleep(settle)); err != nil {
		return err
	}
	got, err := chromedp.Run(s.ctx, chromedp.Evaluate[weight](weigh))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.table, "%s\t%s\t%d requests\t%d kB\tpage %.0f ms\tall %.0f ms\n", w.name, l.name, got.Requests, got.Bytes/1000, got.FirstMs, got.LoadedMs); err != nil {
		return err
	}
	return s.shoot(l.name + "-" + w.name)
}

func (s studio) shoot(name string) error {
	capture := chromedp.CaptureScreenshot()
	if s.whole {
		const quality = 100 // PNG
		capture = chromedp.FullScreenshot(quality)
	}
	picture, err := chromedp.Run(s.ctx, capture)
	if err != nil {
		return fmt.Errorf("the picture of %s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(s.out, name+".png"), picture, 0o600)
}

func readJSON(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
