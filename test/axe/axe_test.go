package axe

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/noctua-screening/noctua/test/shared"
)

// TestFindsWhatIsWrong: a button without a name and grey text on grey are found, and a page without them passes.
func TestFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	script := load(t)
	if script == "" {
		t.Skip("SKIPPED, NOT RUN: axe-core is missing; run make test-deps")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(shared.Program(t, "chromium", "Debian's package chromium")), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()))
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocated)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for page, want := range map[string][]string{
		`<h1>A page</h1><button></button><p style="color:#999;background:#aaa">Hardly to be read.</p>`: {"button-name", "color-contrast"},
		`<h1>A page</h1><button>Go</button>`: nil,
	} {
		const frame = `document.documentElement.lang = "en"; document.title = "A page"; document.body.innerHTML = "<main>" + %q + "</main>"; true`
		if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
			t.Fatal(err)
		}
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(frame, page))); err != nil {
			t.Fatal(err)
		}
		violations, err := judge(ctx, script)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range violations {
			got = append(got, v.ID)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s breaks %v, want %v", page, got, want)
		}
	}
}
