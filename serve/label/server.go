package label

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxPost is the size of the largest request that is read: a comment and little else.
const maxPost = 64 << 10

// maxName is the length of the longest name of an annotator, in bytes.
const maxName = 64

//go:embed page
var page embed.FS

// Server is the web page over a store. Nothing is served without the token, which the first address carries and a
// cookie keeps from then on.
type Server struct {
	store   *Store
	token   string
	cookie  string
	host    string                 // the address that the server listens on; only it and its names are answered
	trouble atomic.Pointer[string] // why no more answers are coming
	handler http.Handler
}

// NewServer makes the page for a store. host is the address listened on, as net.Listener.Addr gives it; an empty token
// draws one.
func NewServer(store *Store, host, token string) (*Server, error) {
	if token == "" {
		token = rand.Text()
	}
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return nil, fmt.Errorf("label: address %q: %w", host, err)
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		return nil, err
	}
	s := &Server{store: store, token: token, cookie: "hone-label-" + port, host: host}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/next", s.next)
	mux.HandleFunc("POST /api/judge", s.judge)
	mux.HandleFunc("POST /api/undo", s.undo)
	mux.Handle("GET /", http.FileServerFS(files))
	// browsers name the site that a request comes from; another's posts are refused
	s.handler = s.guard(http.NewCrossOriginProtection().Handler(mux))
	return s, nil
}

// URL is the address to open, with the token.
func (s *Server) URL() string { return "http://" + s.host + "/?token=" + url.QueryEscape(s.token) }

// Trouble tells annotators that no more answers will come, and why.
func (s *Server) Trouble(text string) { s.trouble.Store(&text) }

// Serve answers until ctx is cancelled, and then lets requests under way end, for some seconds.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	// Shutdown outlives ctx by some seconds, in which a verdict on its way is still kept. What is open longer is cut: browsers also open connections ahead,
	// on which nothing is asked.
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		ended <- err
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the label page: %w", err)
	}
	return <-ended
}

// guard lets through who has the token and speaks to this server by its own name, and says what browsers may load.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if !s.ours(r.Host) {
			http.Error(w, "this address is not mine", http.StatusMisdirectedRequest)
			return
		}
		if given := r.URL.Query().Get("token"); given != "" {
			if !s.is(given) {
				http.Error(w, "wrong token; open the address that hone label printed", http.StatusForbidden)
				return
			}
			// Lax and not strict: who follows the address from another site, such as a message in a browser, would arrive without it. No request of
			// another site's page has it either way, but for opening this one, and posts of such are refused besides.
			http.SetCookie(w, &http.Cookie{Name: s.cookie, Value: url.QueryEscape(given), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
			http.Redirect(w, r, "/", http.StatusSeeOther) // the token leaves the address bar
			return
		}
		if c, err := r.Cookie(s.cookie); err != nil || !s.kept(c.Value) {
			http.Error(w, "no token; open the address that hone label printed", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxPost)
		next.ServeHTTP(w, r)
	})
}

func (s *Server) is(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) == 1
}

// kept reports whether a cookie has the token, written as in the address: a cookie cannot hold every character.
func (s *Server) kept(cookie string) bool {
	token, err := url.QueryUnescape(cookie)
	return err == nil && s.is(token)
}

// ours reports whether a request was meant for this server: on loopback the name must be loopback's, or any page that
// points its own name here (DNS rebinding) could read along.
func (s *Server) ours(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	own, _, _ := net.SplitHostPort(s.host)
	if ip := net.ParseIP(own); ip == nil || !ip.IsLoopback() {
		return true // listens elsewhere by the user's wish; its names are not known here
	}
	if name == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return ip != nil && ip.IsLoopback()
}

// shown is what the page needs of a pair.
type shown struct {
	Pair     int64           `json:"pair,omitempty"` // 0: nothing to judge now
	Prompt   json.RawMessage `json:"prompt,omitempty"`
	Left     string          `json:"left"`
	Right    string          `json:"right"`
	Comment  string          `json:"comment,omitempty"` // of the verdict that was undone
	Progress Progress        `json:"progress"`
	Trouble  string          `json:"trouble,omitempty"`
}

func (s *Server) next(w http.ResponseWriter, r *http.Request) {
	name, err := annotator(r.URL.Query().Get("annotator"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v, err := s.show(r.Context(), name, nil)
	reply(w, v, err)
}

// show is what an annotator sees next, the pair of what was undone or else the first to judge, with the progress; without a pair it is still a reply,
// which says whether to wait.
func (s *Server) show(ctx context.Context, name string, undone *Judgement) (v shown, err error) {
	if v.Progress, err = s.store.Progress(ctx, name); err != nil {
		return v, err
	}
	if t := s.trouble.Load(); t != nil {
		v.Trouble = *t
	}
	again := int64(0)
	if undone != nil {
		again = undone.Pair
	}
	p, err := s.store.Next(ctx, name, again)
	if err != nil || p == nil {
		return v, err
	}
	if p.ID == again {
		v.Comment = undone.Comment
	}
	v.Pair, v.Prompt, v.Left, v.Right = p.ID, p.Prompt, p.Answers[0].Text, p.Answers[1].Text
	// The page never learns which answer is A: sides are turned here, and turned back in judgement.
	if Left(p.ID, name) == B {
		v.Left, v.Right = v.Right, v.Left
	}
	return v, nil
}

// said is a judgement as the page sends it, in terms of sides.
type said struct {
	Pair      int64   `json:"pair"`
	Annotator string  `json:"annotator"`
	Verdict   string  `json:"verdict"` // left, right, tie, bad or skip
	Comment   string  `json:"comment"`
	Seconds   float64 `json:"seconds"`
}

// judgement translates sides to answers.
func (v said) judgement(now time.Time) (Judgement, error) {
	name, err := annotator(v.Annotator)
	if err != nil {
		return Judgement{}, err
	}
	j := Judgement{Pair: v.Pair, Annotator: name, Left: Left(v.Pair, name), Comment: strings.TrimSpace(v.Comment), At: now}
	// a page that was left open over night says nothing about how hard a pair was
	j.Seconds = min(max(v.Seconds, 0), 86400)
	other := map[Verdict]Verdict{A: B, B: A}
	switch v.Verdict {
	case "left":
		j.Verdict = j.Left
	case "right":
		j.Verdict = other[j.Left]
	case string(Tie), string(Bad), string(Skip):
		j.Verdict = Verdict(v.Verdict)
	default:
		return Judgement{}, fmt.Errorf("verdict is %q; use left, right, tie, bad or skip", v.Verdict)
	}
	return j, nil
}

// judge keeps a verdict before it answers with the next pair, so that a click that was answered is on the disk.
func (s *Server) judge(w http.ResponseWriter, r *http.Request) {
	var v said
	if !read(w, r, &v) {
		return
	}
	j, err := v.judgement(time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch err := s.store.Judge(r.Context(), j); {
	case errors.Is(err, ErrJudged):
		http.Error(w, "you have judged this pair already, perhaps in another tab; here is the next one", http.StatusConflict)
	case errors.Is(err, ErrNoPair):
		http.Error(w, "there is no such pair; reload the page", http.StatusNotFound)
	case err != nil:
		reply(w, nil, err)
	default:
		v, err := s.show(r.Context(), j.Annotator, nil)
		reply(w, v, err)
	}
}

// undo shows the pair of the last verdict again, with what was said of it; where there is none it shows what is next.
func (s *Server) undo(w http.ResponseWriter, r *http.Request) {
	var v said
	if !read(w, r, &v) {
		return
	}
	name, err := annotator(v.Annotator)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	undone, err := s.store.Undo(r.Context(), name)
	if err != nil {
		reply(w, nil, err)
		return
	}
	show, err := s.show(r.Context(), name, undone)
	reply(w, show, err)
}

// annotator checks a name.
func annotator(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", errors.New("an annotator needs a name")
	case len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", fmt.Errorf("the annotator's name must be plain text of at most %d bytes", maxName)
	}
	return name, nil
}

// read decodes a posted object, which only this page's script sends: other pages cannot set this content type unasked.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	// Of other characters what is not ASCII would be replaced without a word.
	if err != nil || kind != "application/json" || !strings.EqualFold(cmp.Or(params["charset"], "utf-8"), "utf-8") {
		http.Error(w, "send JSON, in UTF-8", http.StatusUnsupportedMediaType)
		return false
	}
	// All of it first: what is too large is told as that, whatever it begins with.
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, fmt.Sprintf("more than %d bytes; shorten the comment", maxPost), http.StatusRequestEntityTooLarge)
		return false
	case err != nil:
		http.Error(w, "the request did not arrive whole: "+err.Error(), http.StatusBadRequest)
		return false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	// Unknown fields are refused, so that a page of another build fails loudly and loses no verdict silently.
	if err = d.Decode(v); err == nil {
		if _, err = d.Token(); err == nil {
			err = errors.New("something stands behind the object")
		} else if err == io.EOF {
			err = nil
		}
	}
	if err != nil {
		http.Error(w, "the request is not as the page sends it: "+err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}
