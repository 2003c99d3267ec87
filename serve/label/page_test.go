package label

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/walk.js
var walkJS string

// TestInBrowser walks through the page in Chromium, where there is one: testdata/walk.js does what people do and posts what it finds wrong.
func TestInBrowser(t *testing.T) {
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	at := slices.IndexFunc(names, func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	})
	if at < 0 {
		t.Skip("this machine has no Chromium: none of " + strings.Join(names, ", ") + " is there")
	}
	profile, err := os.MkdirTemp("", "hone-label")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile) // not t.TempDir, as processes of the browser may write there to their end
	store := openStore(t)
	long := strings.Repeat("line\n", 200)
	var pairs []Pair
	for _, text := range []string{"```\n\ttab\n    four\n```\n", "1\n"} {
		pairs = append(pairs, Pair{Prompt: prompt(text), Answers: [2]Answer{{Text: text + "a\n" + long}, {Text: text + "b\n" + long}}})
	}
	pairs = append(pairs, Pair{Prompt: prompt("2\n"), Answers: [2]Answer{{Text: "\u200b\u2060"}, {Text: "\u00ad\U000e0041"}}})
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
	browser := exec.CommandContext(ctx, names[at], "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=500,700",
		"--user-data-dir="+profile, strings.Replace(other.URL, "127.0.0.1", "localhost", 1))
	browser.Cancel, browser.WaitDelay = func() error { return browser.Process.Signal(os.Interrupt) }, 5*time.Second // so that it ends its own processes
	var complaints bytes.Buffer
	browser.Stderr = &complaints
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- browser.Wait() }()
	select {
	case text := <-found:
		if text != "" {
			t.Error(text)
		}
		cancel()
		<-ended
	case err := <-ended:
		t.Errorf("%s ended before the walk did: %v\n%s", names[at], err, complaints.String())
	}
}
