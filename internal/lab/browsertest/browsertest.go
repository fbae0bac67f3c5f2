// Package browsertest drives a real browser, Debian's Chromium, for tests of
// pages.
//
// Its methods wait for what they ask for, and fail the test when it does not come;
// they belong into the test's own goroutine. A dialog of the page is answered
// with yes. What the console says is collected, see [Browser.Complaints].
package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	browserlog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// Browser is one with one tab.
type Browser struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // that of the tab, which lasts as long as the browser
	address string
	folder  string // for pictures; empty: none are taken

	mu         sync.Mutex
	complaints []string
}

// Start starts a browser for the pages of an address, such as
// http://127.0.0.1:8081. It ends with the test. Without Chromium the test is
// skipped, or fails when CI is set.
func Start(t *testing.T, address string) *Browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		const remedy = "chromium is not on the PATH: install Debian's package chromium"
		if os.Getenv("CI") != "" {
			t.Fatal(remedy)
		}
		t.Skip(remedy)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true),
	)
	timed, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	allocator, stop := chromedp.NewExecAllocator(timed, options...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	b := &Browser{t: t, ctx: tab, address: address, folder: os.Getenv("SPILLWAY_SCREENSHOTS")}
	require.NoError(t, chromedp.Listen(tab, b.hear))
	dialogs := chromedp.Events(tab, page.JavascriptDialogOpening)
	go func() { // the person says yes
		for _, err := range dialogs {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(tab, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}
	}()
	b.Show(1280, 900, "light")
	return b
}

// hear collects what the browser's console says, refused styles and scripts
// included.
func (b *Browser) hear(event any) {
	complaint := ""
	switch e := event.(type) {
	case *browserlog.EventEntryAdded:
		// The answer to a wrong password is one that the browser remarks on.
		if e.Entry.Level == browserlog.EntryLevelError && e.Entry.URL != b.address+"/login" {
			complaint = string(e.Entry.Source) + ": " + e.Entry.Text + " " + e.Entry.URL
		}
	case *runtime.EventConsoleAPICalled:
		complaint = "console." + string(e.Type) + ":"
		for _, said := range e.Args {
			complaint += " " + strings.Trim(string(said.Value), `"`)
		}
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
	}
	if complaint != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complaints = append(b.complaints, complaint)
	}
}

// Show sets the size of the window and the scheme of its colours, "light" or
// "dark".
func (b *Browser) Show(width, height int64, scheme string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.EmulateViewport(width, height)))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(b.t, err)
}

// Open opens a page of the address and waits until it is loaded.
func (b *Browser) Open(path string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(b.address+path)))
}

// Click clicks what a CSS selector finds.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS(selector))), selector)
}

// TypeInto types a text into what a CSS selector finds; "\r" is the Enter key.
func (b *Browser) TypeInto(selector, text string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.SendKeys(chromedp.CSS(selector), text)), selector)
}

// patience is how long a busy machine may take for what a page does.
const patience = 90 * time.Second

// Eventually waits, without loading the page anew, until an expression is true.
func (b *Browser) Eventually(expression string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if err == nil && is { // while a page loads there is no answer
			return
		}
		if time.Now().After(end) {
			shown, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
			b.t.Fatalf("never true: %s; %.2000s", expression, shown)
		}
	}
}

// Has waits until the page shows a text.
func (b *Browser) Has(text string) {
	b.t.Helper()
	b.Eventually(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// Picture takes one of what is seen, if SPILLWAY_SCREENSHOTS names a folder for
// it.
func (b *Browser) Picture(name string) {
	b.t.Helper()
	if b.folder == "" {
		return
	}
	image, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(b.folder, name+".png"), image, 0o644))
}

// Press presses keys, wherever the focus is; "\t" is the Tab key.
func (b *Browser) Press(keys string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.KeyEvent(keys)))
}

// Text evaluates an expression that is a text.
func (b *Browser) Text(expression string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	require.NoError(b.t, err, expression)
	return text
}

// Number evaluates an expression that is a whole number.
func (b *Browser) Number(expression string) int {
	b.t.Helper()
	number, err := chromedp.Run(b.ctx, chromedp.Evaluate[int](expression))
	require.NoError(b.t, err, expression)
	return number
}

// Pictures reports whether pictures are taken.
func (b *Browser) Pictures() bool { return b.folder != "" }

// Complaints are what the browser's console said so far: errors, messages, and
// scripts and styles that a policy forbids.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complaints)
}
