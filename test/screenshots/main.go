// Command screenshots signs in to a running Noctua in a real browser and takes a picture of each page: `make screenshots`.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const (
	pageTimeout = 60 * time.Second
	settle      = 1500 * time.Millisecond // for pictures to be drawn
)

func main() {
	data := flag.String("data", "./noctua-data", "data folder of a running Noctua")
	out := flag.String("out", "out/screenshots", "folder for the pictures")
	width := flag.Int64("width", 1366, "of the window, pixels")
	height := flag.Int64("height", 768, "of the window, pixels")
	scheme := flag.String("scheme", "light", "light or dark")
	flag.Parse()
	if err := run(*data, *out, *scheme, *width, *height); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(data, out, scheme string, width, height int64) error {
	var endpoint struct {
		WebURL string `json:"web_url"`
	}
	var secrets struct {
		Token string `json:"api_token"`
	}
	if err := errors.Join(readJSON(filepath.Join(data, "endpoint.json"), &endpoint), readJSON(filepath.Join(data, "secrets.json"), &secrets)); err != nil {
		return fmt.Errorf("no Noctua runs on %s: %w", data, err)
	}
	url := endpoint.WebURL
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.WindowSize(int(width), int(height)))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	// The first call starts the browser, which lives as long as its context: the timeout is for what follows.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height)); err != nil {
		return fmt.Errorf("starting the browser: %w", err)
	}
	ctx, cancelTimeout := context.WithTimeout(ctx, pageTimeout)
	defer cancelTimeout()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}); err != nil {
		return fmt.Errorf("choosing the colour scheme: %w", err)
	}

	shot := func(name string, steps ...chromedp.Action[chromedp.Void]) error {
		if err := chromedp.Do(ctx, append(steps, chromedp.Sleep(settle))...); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return os.WriteFile(filepath.Join(out, name+".png"), picture, 0o644)
	}
	if err := errors.Join(
		shot("sign-in", chromedp.Navigate(url)),
		shot("tonight", chromedp.Click(".with-token summary"), chromedp.SendKeys("#token", secrets.Token+"\r"), chromedp.WaitVisible("nav")),
		shot("quarantine", chromedp.Navigate(url+"/quarantine")),
		shot("patients", chromedp.Navigate(url+"/patients")),
		shot("system", chromedp.Navigate(url+"/system"), chromedp.WaitVisible("[data-board]")),
		shot("account", chromedp.Navigate(url+"/account")),
	); err != nil {
		return err
	}
	patient, err := chromedp.Run(ctx, chromedp.AttributeValue(`main a[href^="/patients/"]`, "href"))
	if err != nil || !patient.Exists {
		return fmt.Errorf("no patient is listed: %w", errors.Join(err, os.ErrNotExist))
	}
	if err := shot("patient", chromedp.Navigate(url+patient.Value)); err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/quarantine")); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	file, err := chromedp.Run(ctx, chromedp.AttributeValue(`main a[href^="/quarantine/"]`, "href"))
	if err != nil || !file.Exists {
		return fmt.Errorf("no file is in quarantine: %w", errors.Join(err, os.ErrNotExist))
	}
	return shot("quarantined", chromedp.Navigate(url+file.Value))
}

func readJSON(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
