package label

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// site is a running page and a browser that has opened its address.
type site struct {
	store   *Store
	browser *http.Client
	url     string
}

func openSite(t *testing.T, pairs int) site {
	t.Helper()
	s := openStore(t)
	fill(t, s, pairs)
	l := httptest.NewUnstartedServer(nil)
	server, err := NewServer(s, l.Listener.Addr().String(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	l.Config.Handler = server.handler
	l.Start()
	t.Cleanup(l.Close)
	jar, _ := cookiejar.New(nil)
	v := site{s, &http.Client{Jar: jar}, l.URL}
	if code, body := v.do(t, "GET", "/?token=secret", "", nil); code != 200 || !strings.Contains(body, "<title>hone label") {
		t.Fatalf("the address gives %d %s", code, body)
	}
	return v
}

func (v site) do(t *testing.T, method, path, body string, header map[string]string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, v.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, x := range header {
		r.Header.Set(k, x)
		if k == "Host" {
			r.Host = x
		}
	}
	resp, err := v.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func TestJudgeThroughThePage(t *testing.T) {
	v := openSite(t, 2)
	code, body := v.do(t, "GET", "/api/next?annotator=ann", "", nil)
	var show shown
	if err := json.Unmarshal([]byte(body), &show); code != 200 || err != nil || show.Pair != 1 {
		t.Fatalf("%d %s", code, body)
	}
	verdict := "left" // whichever side a1 stands on, prefer it
	if show.Left != "a1" {
		verdict = "right"
	}
	code, body = v.do(t, "POST", "/api/judge", fmt.Sprintf(`{"pair":1,"annotator":"ann","verdict":%q,"comment":" good ","seconds":2.5}`, verdict), nil)
	if code != 200 || !strings.Contains(body, `"pair":2`) {
		t.Fatalf("%d %s", code, body)
	}
	all, err := v.store.Judgements(t.Context())
	if err != nil || len(all) != 1 || all[0].Verdict != A || all[0].Comment != "good" || all[0].Seconds != 2.5 {
		t.Fatalf("%+v %v", all, err)
	}
	if code, _ = v.do(t, "POST", "/api/judge", `{"pair":1,"annotator":"ann","verdict":"tie"}`, nil); code != http.StatusConflict {
		t.Errorf("another tab's verdict gives %d", code)
	}
	if code, body = v.do(t, "POST", "/api/undo", `{"annotator":"ann"}`, nil); code != 200 || !strings.Contains(body, `"pair":1`) {
		t.Errorf("undo gives %d %s", code, body)
	}
}

func TestPageRefuses(t *testing.T) {
	v := openSite(t, 1)
	good := `{"pair":1,"annotator":"ann","verdict":"tie"}`
	for _, c := range []struct {
		name, method, path, body string
		header                   map[string]string
		code                     int
	}{
		{"another site's post", "POST", "/api/judge", good, map[string]string{"Origin": "http://evil.example"}, 403},
		{"another site's form", "POST", "/api/judge", good, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a post that is no JSON", "POST", "/api/judge", good, map[string]string{"Content-Type": "text/plain"}, 415},
		{"another name for this machine", "GET", "/api/next?annotator=ann", "", map[string]string{"Host": "evil.example"}, 421},
		{"a wrong token", "GET", "/?token=guess", "", nil, 403},
		{"an oversized post", "POST", "/api/judge", `{"comment":"` + strings.Repeat("x", maxPost) + `"}`, nil, 413},
		{"no name", "GET", "/api/next", "", nil, 400},
		{"a name of control characters", "POST", "/api/judge", `{"pair":1,"annotator":"a\u0007","verdict":"tie"}`, nil, 400},
		{"a long name", "POST", "/api/judge", `{"pair":1,"annotator":"` + strings.Repeat("n", 65) + `","verdict":"tie"}`, nil, 400},
		{"an unknown verdict", "POST", "/api/judge", `{"pair":1,"annotator":"ann","verdict":"best"}`, nil, 400},
		{"an unknown key", "POST", "/api/judge", `{"pare":1}`, nil, 400},
		{"broken JSON", "POST", "/api/judge", `{`, nil, 400},
		{"no such pair", "POST", "/api/judge", `{"pair":7,"annotator":"ann","verdict":"tie"}`, nil, 404},
		{"a get that would change", "GET", "/api/judge", "", nil, 404},
	} {
		if code, body := v.do(t, c.method, c.path, c.body, c.header); code != c.code {
			t.Errorf("%s: %d %s, want %d", c.name, code, body, c.code)
		}
	}
	stranger := v
	stranger.browser = &http.Client{}
	for _, path := range []string{"/", "/page.js", "/api/next?annotator=ann"} {
		if code, _ := stranger.do(t, "GET", path, "", nil); code != 403 {
			t.Errorf("%s without the token gives %d", path, code)
		}
	}
	if all, _ := v.store.Judgements(t.Context()); len(all) != 0 {
		t.Errorf("a refused request was kept: %+v", all)
	}
}

// TestHostileAnswer checks that an answer that is HTML arrives as JSON text under a policy that runs no script of its own.
func TestHostileAnswer(t *testing.T) {
	v := openSite(t, 0)
	hostile := `</script><img src=x onerror=alert(1)>`
	if _, err := v.store.AddPairs(t.Context(), []Pair{{Prompt: prompt(hostile), Answers: [2]Answer{{Text: hostile}, {Text: "b"}}}}); err != nil {
		t.Fatal(err)
	}
	resp, err := v.browser.Get(v.url + "/api/next?annotator=ann")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if bytes.ContainsAny(body, "<>") {
		t.Errorf("the answer is not escaped: %s", body)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %s", got)
	}
	if got := resp.Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") || strings.Contains(got, "unsafe") {
		t.Errorf("policy %s", got)
	}
	script, err := page.ReadFile("page/page.js")
	if err != nil || bytes.Contains(script, []byte("innerHTML")) {
		t.Errorf("the page sets HTML from texts, error %v", err)
	}
}

// TestTokensOfAllKinds: the printed address opens the page whatever the token is made of.
func TestTokensOfAllKinds(t *testing.T) {
	store := openStore(t)
	for _, token := range []string{"plain", "a+b/c=", "two words", "a&b", "a#b", "50%", "50%41", `"quoted"`, "a;b,c", `a\b`, "ü"} {
		l := httptest.NewUnstartedServer(nil)
		server, err := NewServer(store, l.Listener.Addr().String(), token)
		if err != nil {
			t.Fatal(err)
		}
		l.Config.Handler = server.handler
		l.Start()
		jar, _ := cookiejar.New(nil)
		v := site{store, &http.Client{Jar: jar}, ""}
		if code, body := v.do(t, "GET", server.URL(), "", nil); code != 200 || !strings.Contains(body, "<title>hone label") {
			t.Errorf("%s gives %d %.80s", server.URL(), code, body)
		}
		l.Close()
	}
}

// ahead is a listener with one connection, on which nothing is asked, as browsers open them.
type ahead struct{ conns chan net.Conn }

func (l ahead) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l ahead) Close() error   { close(l.conns); return nil }
func (l ahead) Addr() net.Addr { return &net.TCPAddr{} }

// TestServeEndsBesideOpenConnections: a connection that a browser keeps open is no reason to fail.
func TestServeEndsBesideOpenConnections(t *testing.T) {
	server, err := NewServer(openStore(t), "127.0.0.1:8321", "secret")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // whose time passes in no time
		browser, conn := net.Pipe()
		defer browser.Close()
		l := ahead{make(chan net.Conn, 1)}
		l.conns <- conn
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- server.Serve(ctx, l) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestServeEnds(t *testing.T) {
	s := openStore(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewServer(s, l.Addr().String(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(server.token) < 20 {
		t.Errorf("the token is %q", server.token)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, l) }()
	resp, err := http.Get(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
