package label

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/walk.js
var walkJS string

// headless runs Chromium on a page, or is nil where there is none that can: one in a box of its own may not read the profile.
func headless(t *testing.T, profile string) func(ctx context.Context, args ...string) *exec.Cmd {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		run := func(ctx context.Context, args ...string) *exec.Cmd {
			args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + profile}, args...)
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, 5*time.Second // so that it ends its own processes
			return cmd
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		text, err := run(ctx, "--dump-dom", "data:text/html,a page").Output()
		cancel()
		if err == nil && strings.Contains(string(text), "a page") {
			return run
		}
	}
	return nil
}

// TestInBrowser walks through the page in Chromium, where there is one: testdata/walk.js does what people do and posts what it finds wrong.
func TestInBrowser(t *testing.T) {
	profile, err := os.MkdirTemp("", "hone-label")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile) // not t.TempDir, as processes of the browser may write there to their end
	chromium := headless(t, profile)
	if chromium == nil {
		t.Skip("there is no Chromium that runs")
	}
	store := openStore(t)
	long := strings.Repeat("line\n", 200)
	var pairs []Pair
	for _, text := range []string{"```\n\ttab\n    four\n```\n", "1\n", "2\n"} {
		pairs = append(pairs, Pair{Prompt: prompt(text), Answers: [2]Answer{{Text: text + "a\n" + long}, {Text: text + "b\n" + long}}})
	}
	if _, err := store.AddPairs(t.Context(), pairs); err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddPrompts(t.Context(), []json.RawMessage{prompt("its answers never come")}); err != nil {
		t.Fatal(err)
	}
	found := make(chan string, 8)
	l := httptest.NewUnstartedServer(nil)
	server, err := NewServer(store, l.Listener.Addr().String(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	index, err := page.ReadFile("page/index.html")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", server.handler)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			server.handler.ServeHTTP(w, r)
			return
		}
		if _, err := r.Cookie(server.cookie); err != nil {
			found <- "the address opened from another site's page is refused"
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, strings.Replace(string(index), "</body>", `<script src="walk.js"></script></body>`, 1))
	})
	mux.HandleFunc("GET /walk.js", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, walkJS) })
	mux.HandleFunc("POST /found", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		found <- string(text)
	})
	l.Config.Handler = mux
	l.Start()
	defer l.Close()
	// Another site, by its name, whose page leads to the address as a link in a chat does.
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `<script>location.href = "`+server.URL()+`"</script>`)
	}))
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	browser := chromium(ctx, "--window-size=500,700", strings.Replace(other.URL, "127.0.0.1", "localhost", 1))
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = browser.Wait()
	}()
	select {
	case text := <-found:
		if text != "" {
			t.Error(text)
		}
	case <-ctx.Done():
		t.Error("the walk did not end")
	}
}
