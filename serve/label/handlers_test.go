package label

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// asked is what a handler answers to one request of a browser that has the cookie.
func asked(s *Server, method, target, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://"+s.host+target, strings.NewReader(body))
	r.AddCookie(&http.Cookie{Name: s.cookie, Value: s.token})
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func newServer(t *testing.T, store *Store, host string) *Server {
	t.Helper()
	s, err := NewServer(store, host, "secret")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestHosts: on loopback only names of loopback are answered, so that no page that points its own name here reads along; what listens
// elsewhere answers to any.
func TestHosts(t *testing.T) {
	store := openStore(t)
	for own, hosts := range map[string]map[string]int{
		"127.0.0.1:8321": {"127.0.0.1:8321": 200, "localhost:8321": 200, "localhost": 200, "[::1]:8321": 200, "127.0.0.2": 200, "evil.example": 421, "127.0.0.1.evil.example:8321": 421,
			"localhost.evil.example": 421, "192.168.1.7": 421, "": 421},
		"[::1]:8321":        {"[::1]:8321": 200, "localhost:1": 200, "evil.example": 421},
		"0.0.0.0:8321":      {"evil.example": 200, "192.168.1.7:8321": 200},
		"label.example:443": {"label.example": 200},
	} {
		s := newServer(t, store, own)
		for host, want := range hosts {
			if got := asked(s, "GET", "/api/next?annotator=ann", "", func(r *http.Request) { r.Host = host }).Code; got != want {
				t.Errorf("listening on %s, a request to %q gives %d, want %d", own, host, got, want)
			}
		}
	}
	for _, host := range []string{"", "127.0.0.1", "a:b:c"} {
		if _, err := NewServer(store, host, ""); err == nil || !strings.Contains(err.Error(), "label: address") {
			t.Errorf("address %q: error %v", host, err)
		}
	}
}

// TestToken: it is needed for everything, goes from the address into a cookie that no script and no request of another site's page gets, and is not
// guessed in part.
func TestToken(t *testing.T) {
	s := newServer(t, openStore(t), "127.0.0.1:8321")
	w := asked(s, "GET", "/?token=secret", "", func(r *http.Request) { r.Header.Del("Cookie") })
	cookies := w.Result().Cookies()
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" || len(cookies) != 1 {
		t.Fatalf("the address gives %d, cookies %v", w.Code, cookies)
	}
	if c := cookies[0]; c.Name != "hone-label-8321" || c.Value != "secret" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
		t.Errorf("the cookie is %+v", c)
	}
	for _, cookie := range []string{"", "secre", "secrets", "SECRET", "other=secret"} {
		got := asked(s, "GET", "/", "", func(r *http.Request) {
			r.Header.Del("Cookie")
			if cookie != "" {
				r.AddCookie(&http.Cookie{Name: s.cookie, Value: cookie})
			}
		})
		if got.Code != http.StatusForbidden || strings.Contains(got.Body.String(), "secret") {
			t.Errorf("cookie %q gives %d %s", cookie, got.Code, got.Body)
		}
	}
	if got := asked(s, "GET", "/?token=wrong", "", nil); got.Code != http.StatusForbidden || len(got.Result().Cookies()) != 0 {
		t.Errorf("a wrong token gives %d and cookies %v, though the cookie is right", got.Code, got.Result().Cookies())
	}
	drawn, err := NewServer(s.store, "127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewServer(s.store, "127.0.0.1:1", "")
	if err != nil || len(drawn.token) < 20 || drawn.token == other.token || drawn.URL() != "http://127.0.0.1:1/?token="+drawn.token {
		t.Errorf("tokens that are drawn are %q and %q, %v", drawn.token, other.token, err)
	}
}

// TestMethodsAndBodies: what is no get of the page or of the next pair, and no post as the page sends it, changes nothing.
func TestMethodsAndBodies(t *testing.T) {
	store := openStore(t)
	fill(t, store, 1)
	s := newServer(t, store, "127.0.0.1:8321")
	good := `{"pair":1,"annotator":"ann","verdict":"tie"}`
	for _, c := range []struct {
		method, target, body string
		change               func(*http.Request)
		want                 int
	}{
		{"PUT", "/api/judge", good, nil, 405}, {"DELETE", "/api/judge", "", nil, 405}, {"PATCH", "/api/undo", good, nil, 405}, {"POST", "/", good, nil, 405},
		{"POST", "/api/next", good, nil, 405}, {"GET", "/api/undo", "", nil, 404}, {"GET", "/nothing", "", nil, 404}, {"GET", "/../store.go", "", nil, 307},
		{"POST", "/api/judge", "", nil, 415}, {"POST", "/api/judge", good + good, nil, 400}, {"POST", "/api/judge", good + "]", nil, 400}, {"POST", "/api/judge", `null`, nil, 400},
		{"POST", "/api/judge", `[]`, nil, 400}, {"POST", "/api/judge", `{"pair":"1"}`, nil, 400}, {"POST", "/api/judge", `{"pair":1e99}`, nil, 400},
		{"POST", "/api/judge", good, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, 415},
		{"POST", "/api/judge", good, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403},
		{"POST", "/api/judge", good, func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:9") }, 403},
		{"POST", "/api/judge", good[:len(good)-1] + strings.Repeat(" ", maxPost) + "}", nil, 413}, {"POST", "/api/judge", good + strings.Repeat(" ", maxPost), nil, 413},
		{"POST", "/api/judge", strings.Repeat("x", maxPost+1), nil, 413}, {"POST", "/api/judge", strings.Repeat("x", maxPost), nil, 400},
		{"POST", "/api/judge", `{"pair":-1,"annotator":"ann","verdict":"tie"}`, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") }, 404},
		{"POST", "/api/judge", good, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain; a=application/json") }, 415},
		{"POST", "/api/judge", good, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=latin1") }, 415},
		{"POST", "/api/undo", `{"annotator":""}`, nil, 400}, {"POST", "/api/undo", `{"annotator":"` + strings.Repeat("ä", maxName/2+1) + `"}`, nil, 400},
		{"GET", "/api/next?annotator=%00", "", nil, 400}, {"GET", "/api/next?annotator=%ff", "", nil, 400}, {"GET", "/api/next?annotator=++", "", nil, 400},
		{"POST", "/api/judge", `{"pair":-1,"annotator":"ann","verdict":"tie"}`, nil, 404},
	} {
		w := asked(s, c.method, c.target, c.body, c.change)
		if w.Code != c.want {
			t.Errorf("%s %s %.60s gives %d %s, want %d", c.method, c.target, c.body, w.Code, w.Body, c.want)
		}
		if strings.Count(strings.TrimSpace(w.Body.String()), "\n") > 0 && c.want >= 400 {
			t.Errorf("%s %s says more than a line: %s", c.method, c.target, w.Body)
		}
	}
	if all, err := store.Judgements(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("kept %+v, %v", all, err)
	}
	for _, header := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control"} {
		if asked(s, "GET", "/", "", nil).Header().Get(header) == "" {
			t.Errorf("the page comes without %s", header)
		}
	}
}

// TestVerdictsOfSides: left and right are the answers that stood there; names are trimmed, seconds are those of a day at most.
func TestVerdictsOfSides(t *testing.T) {
	now := time.Now()
	for pair := range int64(20) {
		for side, want := range map[string]Verdict{"left": Left(pair, "ann"), "right": map[Verdict]Verdict{A: B, B: A}[Left(pair, "ann")], "tie": Tie, "bad": Bad, "skip": Skip} {
			j, err := said{Pair: pair, Annotator: " ann ", Verdict: side, Comment: " c ", Seconds: 1e9}.judgement(now)
			if err != nil || j.Verdict != want || j.Left != Left(pair, "ann") || j.Annotator != "ann" || j.Comment != "c" || j.Seconds != 86400 || j.At != now {
				t.Errorf("pair %d, %s: %+v, %v", pair, side, j, err)
			}
		}
	}
	for _, bad := range []said{{Annotator: "ann", Verdict: "a"}, {Annotator: "ann", Verdict: "LEFT"}, {Annotator: "ann"}, {Verdict: "left"}} {
		if _, err := bad.judgement(now); err == nil {
			t.Errorf("%+v is a judgement", bad)
		}
	}
	if j, _ := (said{Annotator: "ann", Verdict: "tie", Seconds: -5}).judgement(now); j.Seconds != 0 {
		t.Errorf("%v seconds", j.Seconds)
	}
}

// TestManyAnnotatorsAtOnce: verdicts over HTTP of several people, each in two tabs, are each kept once, and are there after a restart.
func TestManyAnnotatorsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.sqlite")
	store, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	const pairs, people = 6, 3
	fill(t, store, pairs)
	s := newServer(t, store, "127.0.0.1:8321")
	codes := make(chan int, 2*people*pairs)
	var wg sync.WaitGroup
	for tab := range 2 * people {
		wg.Go(func() {
			for pair := range pairs {
				codes <- asked(s, "POST", "/api/judge", fmt.Sprintf(`{"pair":%d,"annotator":"person %d","verdict":"left"}`, pair+1, tab%people), nil).Code
			}
		})
	}
	wg.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	if count[200] != people*pairs || count[409] != people*pairs {
		t.Errorf("answers %v, want %d verdicts and as many that came twice", count, people*pairs)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if again, err := Open(t.Context(), path); err != nil {
		t.Fatal(err)
	} else {
		store = again
	}
	defer store.Close()
	all, err := store.Judgements(t.Context())
	if err != nil || len(all) != people*pairs {
		t.Errorf("%d verdicts after a restart, %v", len(all), err)
	}
	s = newServer(t, store, "127.0.0.1:8321")
	var v shown
	w := asked(s, "GET", "/api/next?annotator=person+1", "", nil)
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || v.Pair != 0 || v.Progress.Done != pairs || v.Progress.Ready != pairs || v.Progress.Agreement.Annotators != people {
		t.Errorf("one who has judged all is shown %s, %v", w.Body, err)
	}
}

// TestTrouble: why no more answers come is told beside what is there.
func TestTrouble(t *testing.T) {
	store := openStore(t)
	if _, err := store.AddPrompts(t.Context(), []json.RawMessage{prompt("one")}); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, store, "127.0.0.1:8321")
	for _, want := range []string{"", "the device is full"} {
		if want != "" {
			s.Trouble(want)
		}
		var v shown
		if err := json.Unmarshal(asked(s, "GET", "/api/next?annotator=ann", "", nil).Body.Bytes(), &v); err != nil || v.Trouble != want || v.Pair != 0 || v.Progress.Waiting != 1 {
			t.Errorf("%+v, %v; want trouble %q", v, err, want)
		}
	}
}

// TestUndoShowsItsPair: with its comment, also where the answers to an earlier prompt have come since, and another pair does not get that comment.
func TestUndoShowsItsPair(t *testing.T) {
	store := openStore(t)
	if _, err := store.AddPrompts(t.Context(), []json.RawMessage{prompt("late")}); err != nil {
		t.Fatal(err)
	}
	fill(t, store, 2)
	s := newServer(t, store, "127.0.0.1:8321")
	ask := func(target, body string) (v shown) {
		w := asked(s, map[bool]string{true: "GET", false: "POST"}[body == ""], target, body, nil)
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatalf("%s: %d %s", target, w.Code, w.Body)
		}
		return v
	}
	if v := ask("/api/judge", `{"pair":2,"annotator":"ann","verdict":"tie","comment":"hm"}`); v.Pair != 3 || v.Comment != "" {
		t.Errorf("after the first verdict: %+v", v)
	}
	if err := store.SetAnswers(t.Context(), []Pair{{ID: 1, Answers: [2]Answer{{Text: "x"}, {Text: "y"}}}}); err != nil {
		t.Fatal(err)
	}
	if v := ask("/api/undo", `{"annotator":"ann"}`); v.Pair != 2 || v.Comment != "hm" {
		t.Errorf("undo shows %+v, want pair 2 with its comment", v)
	}
	if v := ask("/api/next?annotator=ann", ""); v.Pair != 1 || v.Comment != "" {
		t.Errorf("then comes %+v", v)
	}
}

// TestBrokenStore: what the store cannot do is an answer and no crash, and errors say which file it is.
func TestBrokenStore(t *testing.T) {
	store := openStore(t)
	fill(t, store, 1)
	s := newServer(t, store, "127.0.0.1:8321")
	store.Close()
	for target, body := range map[string]string{"/api/next?annotator=ann": "", "/api/judge": `{"pair":1,"annotator":"ann","verdict":"tie"}`, "/api/undo": `{"annotator":"ann"}`} {
		method := map[bool]string{true: "GET", false: "POST"}[body == ""]
		if w := asked(s, method, target, body, nil); w.Code != 500 || !strings.Contains(w.Body.String(), "a store.sqlite") {
			t.Errorf("%s gives %d %s", target, w.Code, w.Body)
		}
	}
	ctx := t.Context()
	_, err1 := store.AddPrompts(ctx, []json.RawMessage{prompt("x")})
	_, err2 := store.Unanswered(ctx, 1)
	_, err3 := store.Export(ctx, &bytes.Buffer{})
	_, err4 := store.Progress(ctx, "ann")
	for i, err := range []error{err1, err2, err3, err4, store.SetAnswers(ctx, []Pair{{ID: 1}})} {
		if err == nil || !strings.Contains(err.Error(), "a store.sqlite") {
			t.Errorf("call %d of a store that is closed: %v", i, err)
		}
	}
}

// fullWriter fails as a full disk does.
type fullWriter struct{}

var errFull = errors.New("full")

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }

// TestExportToFullDisk is an error that says what was exported.
func TestExportToFullDisk(t *testing.T) {
	s := openStore(t)
	fill(t, s, 1)
	if err := s.Judge(t.Context(), Judgement{Pair: 1, Annotator: "ann", Verdict: A, Left: A}); err != nil {
		t.Fatal(err)
	}
	if done, err := s.Export(t.Context(), fullWriter{}); !errors.Is(err, errFull) || done.Written != 0 || !strings.Contains(err.Error(), "a store.sqlite") {
		t.Errorf("%+v, %v", done, err)
	}
}
