package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const testCommit = "0123456789abcdef0123456789abcdef01234567"

// server is a hub with one model, org/model, and a store on another host for its large files.
type server struct {
	t        *testing.T
	files    map[string][]byte
	large    map[string]bool                                   // served by the store, with sha256
	noBlobs  bool                                              // the description has no checksums and sizes
	names    []string                                          // further names that the description lists
	answer   func(w http.ResponseWriter, r *http.Request) bool // handles a request instead
	cut      map[string]int                                    // bytes after which a download of a file is cut, once
	noRange  bool
	wantAuth string

	mu     sync.Mutex
	got    []string // requests, METHOD PATH RANGE
	hub    *httptest.Server
	store  *httptest.Server
	client *Client
	slept  []time.Duration
}

func newServer(t *testing.T, files map[string][]byte, large ...string) *server {
	s := &server{t: t, files: files, large: map[string]bool{}, cut: map[string]int{}}
	for _, name := range large {
		s.large[name] = true
	}
	s.hub = httptest.NewServer(http.HandlerFunc(s.serveHub))
	s.store = httptest.NewServer(http.HandlerFunc(s.serveStore))
	t.Cleanup(func() { s.hub.Close(); s.store.Close() })
	s.client = &Client{Endpoint: s.hub.URL, Cache: t.TempDir(), Agent: "test", Sleep: func(_ context.Context, d time.Duration) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.slept = append(s.slept, d)
		return nil
	}}
	return s
}

func (s *server) etag(name string) string {
	if s.large[name] {
		sum := sha256.Sum256(s.files[name])
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(s.files[name])), s.files[name]...))
	return hex.EncodeToString(sum[:])
}

func (s *server) log(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
}

func (s *server) serveHub(w http.ResponseWriter, r *http.Request) {
	s.log(r)
	if s.wantAuth != "" && r.Header.Get("Authorization") != s.wantAuth {
		s.t.Errorf("the hub gets the authorization %q", r.Header.Get("Authorization"))
	}
	if s.answer != nil && s.answer(w, r) {
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/models/org/model/revision/") {
		s.describe(w)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/org/model/resolve/"+testCommit+"/")
	data, there := s.files[name]
	if !ok || !there {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if s.large[name] {
		w.Header().Set("X-Linked-Etag", `"`+s.etag(name)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		http.Redirect(w, r, s.store.URL+"/"+name, http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+s.etag(name)+`"`)
	s.send(w, r, name, data)
}

func (s *server) serveStore(w http.ResponseWriter, r *http.Request) {
	s.log(r)
	if a := r.Header.Get("Authorization"); a != "" {
		s.t.Errorf("the token goes to another host: %q", a)
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.send(w, r, name, s.files[name])
}

func (s *server) send(w http.ResponseWriter, r *http.Request, name string, data []byte) {
	s.mu.Lock()
	cut := s.cut[name]
	delete(s.cut, name)
	s.mu.Unlock()
	if s.noRange {
		r.Header.Del("Range")
	}
	if cut == 0 {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data[:cut])
	panic(http.ErrAbortHandler)
}

func (s *server) describe(w http.ResponseWriter) {
	type lfs struct {
		SHA256 string `json:"sha256"`
		Size   int    `json:"size"`
	}
	type sibling struct {
		Name   string `json:"rfilename"`
		Size   *int   `json:"size,omitempty"`
		BlobID string `json:"blobId,omitempty"`
		LFS    *lfs   `json:"lfs,omitempty"`
	}
	var list []sibling
	for name, data := range s.files {
		e := sibling{Name: name}
		n := len(data)
		switch {
		case s.noBlobs:
		case s.large[name]:
			e.Size, e.BlobID, e.LFS = &n, strings.Repeat("0", 40), &lfs{s.etag(name), n}
		default:
			e.Size, e.BlobID = &n, s.etag(name)
		}
		list = append(list, e)
	}
	for _, name := range s.names {
		list = append(list, sibling{Name: name})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"sha": testCommit, "siblings": list})
}

// requests are those of a kind so far.
func (s *server) requests(prefix string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.got {
		if strings.HasPrefix(r, prefix) {
			out = append(out, r)
		}
	}
	return out
}

func (s *server) pull(include ...string) (string, error) {
	return s.client.Pull(context.Background(), Name{"org/model", "main"}, include, nil)
}

// check compares the snapshot with the files that should be in it.
func (s *server) check(dir string, names ...string) {
	s.t.Helper()
	var got []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			got = append(got, filepath.ToSlash(rel))
		}
		return err
	})
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		s.t.Errorf("the snapshot has %v, want %v", got, names)
	}
	for _, name := range got {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(data, s.files[name]) {
			s.t.Errorf("%s is not what the hub has (%v)", name, err)
		}
	}
	parts, _ := filepath.Glob(filepath.Join(s.client.Cache, "*", "blobs", "*.incomplete"))
	if len(parts) > 0 {
		s.t.Errorf("left over: %v", parts)
	}
}

func model() map[string][]byte {
	weights := make([]byte, 3<<20)
	for i := range weights {
		weights[i] = byte(i * i >> 7)
	}
	return map[string][]byte{
		"config.json": []byte(`{"x":1}`), "tokenizer.json": []byte("{}"), "model.safetensors": weights, "README.md": []byte("read me"), "empty.json": {},
		"pytorch_model.bin": []byte("pickle"), "consolidated.safetensors": weights[:10], "additional_chat_templates/tool_use.jinja": []byte("{{ x }}"),
		"onnx/model.onnx": []byte("onnx"), "special_tokens_map.json": {}, "a name #1.gguf": []byte("GGUF"),
	}
}

var defaultFiles = []string{"config.json", "tokenizer.json", "model.safetensors", "additional_chat_templates/tool_use.jinja", "special_tokens_map.json"}

func TestPull(t *testing.T) {
	s := newServer(t, model(), "model.safetensors", "pytorch_model.bin")
	s.client.Token, s.wantAuth = "secret", "Bearer secret"
	var last Progress
	dir, err := s.client.Pull(context.Background(), Name{"org/model", "main"}, nil, func(p Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	s.check(dir, defaultFiles...)
	if last.FilesDone != 5 || last.Files != 5 || last.BytesIn != last.Bytes || last.Bytes < 3<<20 || last.Cached != 0 {
		t.Errorf("the last progress is %+v", last)
	}
	root := filepath.Join(s.client.Cache, "models--org--model")
	if dir != filepath.Join(root, "snapshots", testCommit) {
		t.Errorf("the folder is %s", dir)
	}
	if ref, err := os.ReadFile(filepath.Join(root, "refs", "main")); err != nil || string(ref) != testCommit {
		t.Errorf("the ref is %q, %v", ref, err)
	}
	for name, want := range map[string]string{"model.safetensors": "../../blobs/" + s.etag("model.safetensors"),
		"additional_chat_templates/tool_use.jinja": "../../../blobs/" + s.etag("additional_chat_templates/tool_use.jinja")} {
		if link, err := os.Readlink(filepath.Join(dir, filepath.FromSlash(name))); err != nil || link != filepath.FromSlash(want) {
			t.Errorf("%s links to %q, %v", name, link, err)
		}
	}
	if found, ok := Find(s.client.Cache, Name{"org/model", "main"}); !ok || found != dir {
		t.Errorf("found %q %v", found, ok)
	}
	if found, ok := Find(s.client.Cache, Name{"org/model", testCommit}); !ok || found != dir {
		t.Errorf("found %q %v by its commit", found, ok)
	}
	before := len(s.requests("GET"))
	if again, err := s.pull(); err != nil || again != dir {
		t.Errorf("again: %q, %v", again, err)
	}
	if n := len(s.requests("GET")) - before; n != 1 {
		t.Errorf("the second pull makes %d requests, want only the one for the description", n)
	}
}

func TestPullInclude(t *testing.T) {
	s := newServer(t, model())
	dir, err := s.pull("*.gguf", "onnx/*", "README.md")
	if err != nil {
		t.Fatal(err)
	}
	s.check(dir, "a name #1.gguf", "onnx/model.onnx", "README.md")
	if _, err := s.pull("*.nope"); err == nil || !strings.Contains(err.Error(), "no file matches *.nope") || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("got %v", err)
	}
	delete(s.files, "model.safetensors")
	delete(s.files, "consolidated.safetensors")
	if _, err := s.pull(); err == nil || !strings.Contains(err.Error(), "--include") {
		t.Errorf("got %v", err)
	}
}

// TestPullMirror has a description without checksums: they come from the headers of each file.
func TestPullMirror(t *testing.T) {
	s := newServer(t, model(), "model.safetensors")
	s.noBlobs = true
	var last Progress
	dir, err := s.client.Pull(context.Background(), Name{"org/model", "main"}, nil, func(p Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	s.check(dir, defaultFiles...)
	if last.BytesIn != last.Bytes || last.Bytes < 3<<20 {
		t.Errorf("sizes that come with the headers are not counted: %+v", last)
	}
	if n := len(s.requests("HEAD")); n != len(defaultFiles) {
		t.Errorf("%d HEAD requests", n)
	}
}

// TestResume cuts downloads: within one pull, between two, and at a server that cannot go on in the middle.
func TestResume(t *testing.T) {
	for _, large := range []bool{true, false} {
		for _, noRange := range []bool{true, false} {
			s := newServer(t, model())
			s.large["model.safetensors"], s.noRange = large, noRange
			s.cut["model.safetensors"] = 1 << 20
			dir, err := s.pull()
			if err != nil {
				t.Fatal(err)
			}
			s.check(dir, defaultFiles...)
			ranged := 0
			for _, r := range s.requests("GET") {
				if strings.Contains(r, "model.safetensors") && strings.HasSuffix(r, "-") {
					ranged++
				}
			}
			if ranged == 0 || len(s.slept) == 0 {
				t.Errorf("large %v: no request goes on after the cut: %v, slept %v", large, s.got, s.slept)
			}
		}
	}
	s := newServer(t, model(), "model.safetensors")
	part := filepath.Join(s.client.Cache, "models--org--model", "blobs", s.etag("model.safetensors")+".incomplete")
	for _, left := range [][]byte{s.files["model.safetensors"][:1<<20], s.files["model.safetensors"], append([]byte("x"), s.files["model.safetensors"]...), []byte("wrong start")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(part), 0o755), os.WriteFile(part, left, 0o644)); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(strings.TrimSuffix(part, ".incomplete"))
		dir, err := s.pull()
		if err != nil {
			t.Fatal(err)
		}
		s.check(dir, defaultFiles...)
	}
	if got := s.requests("GET /model.safetensors bytes=1048576-"); len(got) != 1 {
		t.Errorf("a new pull does not go on where the old one stopped: %v", s.got)
	}
}

// TestWrongContent has a store that sends something else.
func TestWrongContent(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"flipped bit": func(b []byte) []byte { b = bytes.Clone(b); b[1000] ^= 1; return b },
		"longer":      func(b []byte) []byte { return append(bytes.Clone(b), 1) },
	} {
		s := newServer(t, model())
		etag := s.etag("model.safetensors")
		data := spoil(s.files["model.safetensors"])
		s.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/model.safetensors") {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
				return true
			}
			return false
		}
		var last Progress
		_, err := s.client.Pull(context.Background(), Name{"org/model", "main"}, nil, func(p Progress) { last = p })
		if last.FilesDone == last.Files {
			t.Errorf("%s: the wrong file counts as done: %+v", name, last)
		}
		if err == nil || !strings.Contains(err.Error(), "model.safetensors") || !strings.Contains(err.Error(), map[bool]string{true: "checksum", false: "more than"}[name == "flipped bit"]) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(s.client.Cache, "models--org--model", "blobs", etag)); err == nil {
			t.Errorf("%s: a wrong file is in the cache", name)
		}
		if _, ok := Find(s.client.Cache, Name{"org/model", "main"}); ok {
			t.Errorf("%s: an unfinished model is found", name)
		}
	}
}

func TestErrors(t *testing.T) {
	fail := func(code int, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	cases := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		want   string
		tries  int
	}{
		{"401", fail(401, "X-Error-Code", "RepoNotFound"), "does not exist or is private; check the name, or set HF_TOKEN", 1},
		{"gated", fail(401, "X-Error-Code", "GatedRepo"), "accept the conditions at", 1},
		{"403", fail(403), "access is restricted", 1},
		{"404", fail(404, "X-Error-Code", "RevisionNotFound"), "has no revision main; name one that it has, as in ", 1},
		{"404 plain", fail(404), "not found; check the name", 1},
		{"429", fail(429, "Retry-After", "7"), "fewer requests", attempts},
		{"500", fail(500, "X-Error-Message", "broken\nhere"), "500 Internal Server Error: broken", attempts},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "<html>"); return true }, "is not JSON; check the endpoint", 1},
		{"no commit", func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, `{"sha":"../../x"}`); return true }, "names no commit", 1},
		{"cut", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, "EOF", attempts},
	}
	for _, c := range cases {
		s := newServer(t, model())
		s.answer = c.answer
		_, err := s.pull()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if n := len(s.requests("GET")); n != c.tries {
			t.Errorf("%s: %d requests, want %d", c.name, n, c.tries)
		}
		if c.name == "429" && slices.ContainsFunc(s.slept, func(d time.Duration) bool { return d != 7*time.Second }) {
			t.Errorf("the server asks for 7 s, slept %v", s.slept)
		}
		if c.name == "500" && !slices.IsSorted(s.slept) {
			t.Errorf("slept %v", s.slept)
		}
		if _, err := os.Stat(filepath.Join(s.client.Cache, "models--org--model")); err == nil {
			t.Errorf("%s: a folder is made", c.name)
		}
	}
}

// TestRecovers has failures that pass.
func TestRecovers(t *testing.T) {
	s := newServer(t, model())
	n := 0
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n++; n%2 == 1 {
			w.WriteHeader([]int{429, 503, 500, 502}[n%4])
			return true
		}
		return false
	}
	dir, err := s.pull()
	if err != nil {
		t.Fatal(err)
	}
	s.check(dir, defaultFiles...)
}

func TestHostileNames(t *testing.T) {
	for _, name := range []string{"../x.safetensors", "/etc/passwd", "a/../../b", "..", ".", "", "a/./b", "a//b", "a/", "C:\\x", "c:x", "a\\..\\b", "a\x00b", strings.Repeat("a", 600), "..\\x"} {
		s := newServer(t, model())
		s.names = []string{name}
		if _, err := s.pull("*"); err == nil || !strings.Contains(err.Error(), "does not stay in its folder") {
			t.Errorf("%q: got %v", name, err)
		}
		entries, _ := os.ReadDir(s.client.Cache)
		if len(entries) > 0 {
			t.Errorf("%q: something was written", name)
		}
	}
	s := newServer(t, map[string][]byte{"model.safetensors": []byte("x"), "a/b": []byte("y"), "a": []byte("z")})
	if _, err := s.pull("*", "a/*"); err == nil {
		t.Error("a file and a folder of one name are both written")
	}
}

func TestParseName(t *testing.T) {
	for s, want := range map[string]Name{
		"a/b@" + strings.Repeat("x", 200): {"a/b", strings.Repeat("x", 200)}, "org/model": {"org/model", "main"}, "gpt2": {"gpt2", "main"}, "Org.x/m_1-b@v1.0": {"Org.x/m_1-b", "v1.0"}, "a/b@refs/pr/1": {"a/b", "refs/pr/1"}, "a/b@" + testCommit: {"a/b", testCommit},
	} {
		if got, err := ParseName(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "a/b/c", "../x", "a/..", "a/b@", "a/b@../x", "a/b@a//b", "a b", "a/b@x y", "/a", "a/", "a--b/c", "a/b@..", ".a/b", "https://x/y", "a/b@/x", "-a/b", strings.Repeat("a", 201), "a/b@" + strings.Repeat("x", 201)} {
		if got, err := ParseName(s); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

func TestFindNothing(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "models--a--b", "refs")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "evil"), []byte("../../../../etc"), 0o644), os.WriteFile(filepath.Join(dir, "gone"), []byte(testCommit), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []Name{{"a/b", "main"}, {"a/b", "evil"}, {"a/b", "gone"}, {"x", "main"}} {
		if got, ok := Find(cache, n); ok {
			t.Errorf("%v is found at %s", n, got)
		}
	}
}

// TestCancel stops a download and keeps what came for the next time.
func TestCancel(t *testing.T) {
	s := newServer(t, model())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/model.safetensors") || r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(3<<20))
		_, _ = w.Write(s.files["model.safetensors"][:1<<20])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
	_, err := s.client.Pull(ctx, Name{"org/model", "main"}, nil, func(p Progress) {
		if p.BytesIn > 1<<20 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	part, err := os.Stat(filepath.Join(s.client.Cache, "models--org--model", "blobs", s.etag("model.safetensors")+".incomplete"))
	if err != nil || part.Size() == 0 {
		t.Fatalf("nothing is kept: %v", err)
	}
	dir, err := s.pull()
	if err != nil {
		t.Fatal(err)
	}
	s.check(dir, defaultFiles...)
	if len(s.requests(fmt.Sprintf("GET /org/model/resolve/%s/model.safetensors bytes=%d-", testCommit, part.Size()))) != 1 {
		t.Errorf("the pull does not go on: %v", s.got)
	}
}
