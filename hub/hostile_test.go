package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// small is a model that is downloaded at once.
func small() map[string][]byte {
	return map[string][]byte{"config.json": []byte(`{"x":1}`), "model.safetensors": []byte("weights")}
}

// TestEqualFiles: files of equal content are one blob, which is downloaded once however many of them are wanted at the same time.
func TestEqualFiles(t *testing.T) {
	files := map[string][]byte{"model.safetensors": []byte("weights")}
	names := []string{"model.safetensors"}
	for i := range 12 {
		name := fmt.Sprintf("folder/%d.json", i)
		files[name], names = []byte("{}"), append(names, name)
	}
	s := newServer(t, files)
	var last Progress
	dir, err := s.client.Pull(context.Background(), Name{"org/model", "main"}, []string{"*", "*/*"}, func(p Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	s.check(dir, names...)
	if n := len(s.requests("GET /org/model/resolve/")); n != 2 {
		t.Errorf("%d downloads of two contents: %v", n, s.got)
	}
	if last.BytesIn != last.Bytes || last.Bytes != 7+12*2 || last.Cached != 11*2 {
		t.Errorf("the last progress is %+v", last)
	}
}

// TestDownloadOfAnother: what another program has put into the cache between the look and the lock is taken, and leaves no part behind.
func TestDownloadOfAnother(t *testing.T) {
	s := newServer(t, small())
	root := filepath.Join(s.client.Cache, "models--org--model")
	blob := filepath.Join(root, "blobs", s.etag("config.json"))
	if err := errors.Join(os.MkdirAll(filepath.Dir(blob), 0o755), os.WriteFile(blob, s.files["config.json"], 0o644)); err != nil {
		t.Fatal(err)
	}
	p := &pull{Client: s.client, name: Name{"org/model", "main"}, root: root}
	f := file{name: "config.json", size: int64(len(s.files["config.json"])), etag: s.etag("config.json")}
	if err := p.download(context.Background(), f, s.hub.URL, blob); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(blob + ".incomplete"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part is left: %v", err)
	}
	if len(s.requests("GET")) > 0 {
		t.Errorf("it was downloaded again: %v", s.got)
	}
}

// cutAfter makes each download of a file end after n further bytes.
func (s *server) cutAfter(name string, n int) {
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/"+name) {
			return false
		}
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.files[name])-1, len(s.files[name])))
		}
		data := s.files[name][from:]
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(data[:min(n, len(data))])
		if n < len(data) {
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

// TestAttemptsCountFromProgress: a download that gets further each time may be cut more often than one that does not.
func TestAttemptsCountFromProgress(t *testing.T) {
	s := newServer(t, model())
	s.cutAfter("model.safetensors", 300_000) // of 3 MiB: eleven requests
	dir, err := s.pull()
	if err != nil {
		t.Fatal(err)
	}
	s.check(dir, defaultFiles...)
	if len(s.slept) < attempts || slices.ContainsFunc(s.slept, func(d time.Duration) bool { return d != time.Second }) {
		t.Errorf("slept %v", s.slept)
	}
	s = newServer(t, model())
	s.cutAfter("model.safetensors", 0)
	var told []time.Duration
	s.client.Retrying = func(err error, pause time.Duration) {
		if err != nil {
			told = append(told, pause)
		}
	}
	if _, err := s.pull(); err == nil || !strings.Contains(err.Error(), "model.safetensors") {
		t.Errorf("a download that never gets anywhere: %v", err)
	}
	if !slices.Equal(told, s.slept) {
		t.Errorf("told of pauses %v, and there were %v", told, s.slept)
	}
	if want := []time.Duration{1, 2, 4, 8, 16}; !slices.EqualFunc(s.slept, want, func(a, b time.Duration) bool { return a == b*time.Second }) {
		t.Errorf("slept %v, want %v seconds", s.slept, want)
	}
}

// TestFileChangesAtTheHub: the rest of a download that was cut is not put behind the beginning of an older version.
func TestFileChangesAtTheHub(t *testing.T) {
	for _, large := range []bool{true, false} {
		s := newServer(t, model())
		s.large["model.safetensors"] = large
		s.cutAfter("model.safetensors", 0)
		hub := s.answer
		s.answer = func(w http.ResponseWriter, r *http.Request) bool { // some bytes, then nothing any more
			if strings.HasSuffix(r.URL.Path, "/model.safetensors") && r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", fmt.Sprint(3<<20))
				_, _ = w.Write(s.files["model.safetensors"][:1<<20])
				panic(http.ErrAbortHandler)
			}
			return hub(w, r)
		}
		if _, err := s.pull(); err == nil {
			t.Fatal("a download that is cut again and again succeeds")
		}
		later := newServer(t, model()) // not the same, which may still be at the requests that it cut
		later.large, later.client.Cache = s.large, s.client.Cache
		later.files["model.safetensors"][0] ^= 1 // of the same size
		dir, err := later.pull()
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(filepath.Join(dir, "model.safetensors")); err != nil || !bytes.Equal(data, later.files["model.safetensors"]) {
			t.Errorf("large %v: the file is a mixture (%v)", large, err)
		}
	}
}

// TestServersThatLie send another part than was asked for, less than they said, or go round in circles.
func TestServersThatLie(t *testing.T) {
	weights := model()["model.safetensors"]
	cases := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
	}{
		{"another part", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", fmt.Sprint(len(weights)))
				_, _ = w.Write(weights[:1<<20])
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(weights)-1, len(weights)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(weights)
		}, "another part of the file"},
		{"shorter", func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(weights[:1<<20]))
		}, "416"},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "204"},
		{"a circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "redirects more than ten times"},
		{"not there", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Error-Code", "EntryNotFound")
			w.WriteHeader(http.StatusNotFound)
		}, "model.safetensors: the hub answers 404 Not Found; the hub lists the file"},
	}
	for _, c := range cases {
		s := newServer(t, model())
		s.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/model.safetensors") {
				return false
			}
			c.answer(w, r)
			return true
		}
		_, err := s.pull()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(s.client.Cache, "models--org--model", "blobs", s.etag("model.safetensors"))); err == nil {
			t.Errorf("%s: a file is in the cache", c.name)
		}
	}
}

// TestTokenStaysAtTheEndpoint: it goes along to another page of the endpoint, but to no other host, port or scheme.
func TestTokenStaysAtTheEndpoint(t *testing.T) {
	for to, kept := range map[string]bool{"https://hub.example/b": true, "http://hub.example/b": false, "https://hub.example:8443/b": false, "https://cdn.hub.example/b": false, "https://other.example/": false} {
		first := &http.Request{URL: parsed(t, "https://hub.example/a"), Header: http.Header{"Authorization": {"Bearer secret"}}}
		next := &http.Request{URL: parsed(t, to), Header: http.Header{"Authorization": {"Bearer secret"}}}
		if err := follow(next, []*http.Request{first}); err != nil || (next.Header.Get("Authorization") != "") != kept {
			t.Errorf("%s: %v, %v", to, next.Header, err)
		}
	}
	s := newServer(t, small(), "model.safetensors") // serveHub wants the token of each request, serveStore none
	s.client.Token, s.wantAuth = "secret", "Bearer secret"
	s.answer = func(w http.ResponseWriter, r *http.Request) bool { // as for a model that was renamed
		rest, old := strings.CutPrefix(r.URL.Path, "/api/models/org/old/")
		if old {
			http.Redirect(w, r, "/api/models/org/model/"+rest+"?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		}
		if rest, ok := strings.CutPrefix(r.URL.Path, "/org/old/"); ok {
			old = true
			http.Redirect(w, r, "/org/model/"+rest, http.StatusTemporaryRedirect)
		}
		return old
	}
	if _, err := s.client.Pull(context.Background(), Name{"org/old", "main"}, nil, nil); err != nil {
		t.Error(err)
	}
}

// TestSignedAddresses: no failure tells the address of a store, which has a signature in it, nor what is tried again.
func TestSignedAddresses(t *testing.T) {
	s := newServer(t, small())
	down := httptest.NewServer(nil)
	down.Close()
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/model.safetensors") {
			return false
		}
		http.Redirect(w, r, down.URL+"/blob?X-Amz-Signature=secret", http.StatusFound)
		return true
	}
	var said []string
	s.client.Retrying = func(err error, _ time.Duration) { said = append(said, err.Error()) }
	_, err := s.pull()
	if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(down.URL, "http://")+": dial tcp") || len(said) != attempts-1 {
		t.Fatalf("%v after %q", err, said)
	}
	if all := strings.Join(append(said, err.Error()), "\n"); strings.Contains(all, "secret") {
		t.Errorf("it says %s", all)
	}
}

func parsed(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestWaitsAreBounded: a hub may ask for a pause in seconds, of which two minutes are the most; other spellings count as none.
func TestWaitsAreBounded(t *testing.T) {
	for header, want := range map[string]time.Duration{"3": 3 * time.Second, "999999999": maxWait, "0": time.Second, "-5": time.Second, "Wed, 21 Oct 2015 07:28:00 GMT": time.Second, "": time.Second} {
		s := newServer(t, small())
		s.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		if _, err := s.pull(); err == nil || len(s.slept) != attempts-1 || s.slept[0] != want {
			t.Errorf("Retry-After %q: slept %v, error %v", header, s.slept, err)
		}
	}
}

// TestMirrorsWithoutChecksums: a file without a checksum or a size is not taken.
func TestMirrorsWithoutChecksums(t *testing.T) {
	for name, head := range map[string]func(w http.ResponseWriter, etag string){
		"no etag": func(w http.ResponseWriter, _ string) { w.Header().Set("Content-Length", "7") },
		"another kind": func(w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Length", "7")
			w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`) // md5
		},
		"a path": func(w http.ResponseWriter, etag string) {
			w.Header().Set("Content-Length", "7")
			w.Header().Set("ETag", `"../../`+etag+`"`)
		},
		"no size": func(w http.ResponseWriter, etag string) { // of a redirection, whose own length says nothing
			w.Header().Set("ETag", etag)
			w.Header().Set("Location", "http://store.example/x")
			w.WriteHeader(http.StatusFound)
		},
	} {
		s := newServer(t, map[string][]byte{"model.safetensors": []byte("weights")})
		s.noBlobs = true
		s.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				head(w, s.etag("model.safetensors"))
			}
			return r.Method == http.MethodHead
		}
		if _, err := s.pull(); err == nil || !strings.Contains(err.Error(), "no checksum or size for model.safetensors") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDescriptions refuses what no model's description says, and reads the rest.
func TestDescriptions(t *testing.T) {
	many := `{"sha":"` + testCommit + `","siblings":[` + strings.Repeat("{},", maxFiles) + `{}]}`
	for body, want := range map[string]string{many: "lists 100001 files", `{"sha":"` + testCommit + `","siblings":[]}`: "it has no files",
		`{"siblings":[]}`: "names no commit", `{"sha":"` + strings.ToUpper(testCommit) + `"}`: "names no commit", `{"sha":"` + testCommit + `","siblings":[{}]}`: "does not stay in its folder"} {
		s := newServer(t, nil)
		s.answer = func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, body); return true }
		if _, err := s.pull(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", body, err, want)
		}
	}
	s := newServer(t, small())
	s.client.Token = "stale"
	s.answer = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusUnauthorized); return true }
	if _, err := s.pull(); err == nil || !strings.Contains(err.Error(), "the token in HF_TOKEN is not valid") {
		t.Errorf("a token that the hub does not take: %v", err)
	}
}

// TestRequests: every one says who asks and wants the plain file, whose bytes sizes and checksums are of; of a large file the size and checksum of its content count.
func TestRequests(t *testing.T) {
	s := newServer(t, small())
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("User-Agent") != "test" || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s %s by %q wants the encoding %q", r.Method, r.URL.Path, r.Header.Get("User-Agent"), r.Header.Get("Accept-Encoding"))
		}
		return false
	}
	s.noBlobs = true
	if _, err := s.pull(); err != nil {
		t.Fatal(err)
	}
	for redirects, fine := range map[int]bool{9: true, 10: false} {
		next := &http.Request{URL: parsed(t, "https://hub.example/b"), Header: http.Header{}}
		if err := follow(next, slices.Repeat([]*http.Request{next}, redirects)); (err == nil) != fine {
			t.Errorf("after %d redirections: %v", redirects, err)
		}
	}
	sized := newServer(t, nil)
	sized.answer = func(w http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprint(w, `{"sha":"`+testCommit+`","siblings":[{"rfilename":"a","size":3,"blobId":"x","lfs":{"sha256":"y","size":4}},{"rfilename":"b","size":3,"lfs":{"sha256":"y"}},{"rfilename":"c"}]}`)
		return true
	}
	i, err := sized.client.info(context.Background(), Name{"org/model", "main"})
	if want := []file{{"a", 4, "y"}, {"b", 3, "y"}, {"c", -1, ""}}; err != nil || !slices.Equal(i.files, want) {
		t.Errorf("%+v, want %+v (%v)", i.files, want, err)
	}
}

// TestRevisions: a branch with slashes goes escaped into the address and as a path into the cache, and a commit needs no reference.
func TestRevisions(t *testing.T) {
	for revision, ref := range map[string]bool{"refs/pr/1": true, testCommit: false} {
		s := newServer(t, small())
		escaped := ""
		s.answer = func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/api/") {
				escaped = r.URL.EscapedPath()
			}
			return false
		}
		n := Name{"org/model", revision}
		dir, err := s.client.Pull(context.Background(), n, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := "/api/models/org/model/revision/" + url.PathEscape(revision); escaped != want {
			t.Errorf("%s is asked for at %s", n, escaped)
		}
		if found, ok := Find(s.client.Cache, n); !ok || found != dir {
			t.Errorf("%s is found at %q", n, found)
		}
		if _, err := os.Stat(filepath.Join(n.folder(s.client.Cache), "refs", filepath.FromSlash(revision))); (err == nil) != ref {
			t.Errorf("%s: a reference is there: %v", n, err == nil)
		}
	}
}

// TestCutPullIsNotFound: a model of which a file is missing yet is not in the cache, by its branch or by its commit.
func TestCutPullIsNotFound(t *testing.T) {
	s := newServer(t, model())
	s.cutAfter("model.safetensors", 0)
	for _, revision := range []string{"main", testCommit} {
		n := Name{"org/model", revision}
		if _, err := s.client.Pull(t.Context(), n, nil, nil); err == nil {
			t.Fatal("a download that is cut again and again succeeds")
		}
		if dir, ok := Find(s.client.Cache, n); ok {
			t.Errorf("%s is found at %s", n, dir)
		}
	}
}

// TestCacheIsMended: a blob of another size is downloaded again, and a file in the place of a link gives way.
func TestCacheIsMended(t *testing.T) {
	s := newServer(t, model())
	dir, err := s.pull()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(s.client.Cache, "models--org--model")
	other := filepath.Join(dir, "tokenizer.json")
	if err := errors.Join(os.WriteFile(filepath.Join(root, "blobs", s.etag("config.json")), []byte("cut"), 0o644), os.Remove(other), os.WriteFile(other, []byte("another"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pull(); err != nil {
		t.Fatal(err)
	}
	s.check(dir, defaultFiles...)
}

// TestWithoutLinks: where neither symbolic nor hard links are, a file is copied, and what has been linked or copied stays.
func TestWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	blob, path := filepath.Join(dir, "blob"), filepath.Join(dir, "file")
	if err := os.WriteFile(blob, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	none := func() error { return errors.ErrUnsupported }
	if err := firstOf(none, none, func() error { return duplicate(blob, path) }, func() error { t.Error("one copy is enough"); return nil }); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	if err := firstOf(none, func() error { return duplicate(filepath.Join(dir, "missing"), path) }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing to copy: %v", err)
	}
	s := newServer(t, model())
	snapshot, err := s.pull()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(snapshot, "config.json")
	real, err := filepath.EvalSymlinks(copied)
	if err := errors.Join(err, os.Remove(copied), duplicate(real, copied)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pull(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(copied); err != nil || !info.Mode().IsRegular() {
		t.Errorf("a copy was made anew: %v, %v", info, err)
	}
}

// TestChoose: the original layout of weights is left out only where the usual one is there; an error lists some of what there is.
func TestChoose(t *testing.T) {
	list := func(names ...string) (files []file) {
		for _, n := range names {
			files = append(files, file{name: n})
		}
		return files
	}
	names := func(files []file) (names []string) {
		for _, f := range files {
			names = append(names, f.name)
		}
		return names
	}
	for _, c := range []struct{ have, want string }{
		{"consolidated.safetensors config.json", "consolidated.safetensors config.json"},
		{"consolidated.safetensors model-00001-of-00002.safetensors model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors model-00002-of-00002.safetensors"},
		{"adapter_model.safetensors adapter_config.json training_args.bin", "adapter_model.safetensors adapter_config.json"},
		{"model.safetensors sub/model.safetensors sub/config.json", "model.safetensors"},
	} {
		got, err := choose(list(strings.Fields(c.have)...), nil)
		if err != nil || strings.Join(names(got), " ") != c.want {
			t.Errorf("of %s: %v, %v", c.have, names(got), err)
		}
	}
	var many []string
	for i := range 23 {
		many = append(many, fmt.Sprintf("f%02d", i))
	}
	if _, err := choose(list(many...), nil); err == nil || !strings.HasSuffix(err.Error(), "f18, f19, and 3 more") {
		t.Errorf("got %v", err)
	}
	if _, err := choose(list(many[:20]...), []string{"[", "x"}); err == nil || !strings.HasSuffix(err.Error(), "f18, f19") {
		t.Errorf("got %v", err)
	}
}

// TestSilenceIsBounded: a client waits only so long for an answer to begin, unless the caller has a transport of his own, which stays as it is.
func TestSilenceIsBounded(t *testing.T) {
	if own, ok := (&Client{}).client().Transport.(*http.Transport); !ok || own.ResponseHeaderTimeout != patience {
		t.Errorf("the usual transport is %+v", own)
	}
	given := &http.Transport{}
	if c := (&Client{Transport: given}).client(); c.Transport != given || given.ResponseHeaderTimeout != 0 {
		t.Errorf("a given transport became %+v", c.Transport)
	}
	// An answer that began and then stops: of the description and of a file alike it is told, tried again, and given up.
	synctest.Test(t, func(t *testing.T) { // whose time passes in no time
		var told []string
		c := &Client{Endpoint: "http://hub.example", Cache: t.TempDir(), Transport: transport(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: untilDone{r.Context()}, Request: r}, nil
		}), Retrying: func(err error, _ time.Duration) { told = append(told, err.Error()) }}
		begin, want := time.Now(), "the server sent nothing for 60 seconds"
		if _, err := c.info(t.Context(), Name{"org/model", "main"}); err == nil || err.Error() != "pull org/model@main: "+want || time.Since(begin) > time.Hour {
			t.Errorf("the description: %v after %v", err, time.Since(begin))
		}
		p := &pull{Client: c}
		if err := p.download(t.Context(), file{"a", 1, testCommit}, "http://hub.example/a", filepath.Join(c.Cache, "a")); err == nil || err.Error() != want {
			t.Errorf("a file: %v", err)
		}
		if len(told) != 2*(attempts-1) || slices.ContainsFunc(told, func(s string) bool { return s != want }) {
			t.Errorf("told %q", told)
		}
	})
}

// transport answers requests itself.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// untilDone is the body of an answer that never goes on.
type untilDone struct{ context.Context }

func (b untilDone) Read([]byte) (int, error) { <-b.Done(); return 0, b.Err() }
func (untilDone) Close() error               { return nil }

// TestConnectionsAreUsedAgain: a model of many files takes no more of them than are downloaded at once. One for each would be left open until the server
// ends it, and their number has a limit.
func TestConnectionsAreUsedAgain(t *testing.T) {
	files := small()
	for i := range 40 {
		files[fmt.Sprintf("%d.json", i)] = fmt.Append(nil, i)
	}
	s := newServer(t, files)
	var opened atomic.Int64
	hub := s.hub
	s.hub = httptest.NewUnstartedServer(http.HandlerFunc(s.serveHub))
	hub.Close()
	s.hub.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.hub.Start()
	s.client.Endpoint = s.hub.URL
	if _, err := s.client.Pull(t.Context(), Name{"org/model", "main"}, []string{"*"}, nil); err != nil {
		t.Fatal(err)
	}
	if n := opened.Load(); n > 2*filesAtOnce { // a request may open one while another ends
		t.Errorf("%d connections for %d files", n, len(files))
	}
}

// TestPausesEnd: a pause that is ended by the caller ends the pull, which asks no more.
func TestPausesEnd(t *testing.T) {
	s := newServer(t, small())
	enough := errors.New("enough")
	s.client.Sleep = func(context.Context, time.Duration) error { return enough }
	s.answer = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true }
	if _, err := s.pull(); !errors.Is(err, enough) || len(s.requests("GET")) != 1 {
		t.Errorf("%v after %v", err, s.got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (&Client{}).sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("slept: %v", err)
	}
}

// TestWordsOfServers take one line of at most 200 bytes in an error.
func TestWordsOfServers(t *testing.T) {
	for n, want := range map[int]int{0: 0, 199: 199, 200: 200, 201: 200} {
		if got := firstLine(strings.Repeat("x", n) + "\nmore"); got != strings.Repeat("x", want) {
			t.Errorf("of %d bytes %d are left", n, len(got))
		}
	}
	for e, want := range map[statusError]string{{message: "too long"}: "too long", {code: 503}: "the hub answers 503 Service Unavailable", {code: 400, message: "no"}: "the hub answers 400 Bad Request: no"} {
		if got := e.Error(); got != want { // without a status where an answer was not read to its end
			t.Errorf("%+v is told as %q", e, got)
		}
	}
}

// TestFullDisk: the error says what to do, and no attempt follows.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("this system has no /dev/full, the device that is always full, which Linux has")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	s := newServer(t, small())
	f := file{name: "config.json", size: 1 << 20}
	p := &pull{Client: s.client, name: Name{"org/model", "main"}}
	err = p.fetch(t.Context(), p.fileURL(p.name, testCommit, f.name), &partial{out: full, of: f, sum: newSum(f)})
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, errFinal) || !strings.Contains(err.Error(), "free some space and pull again") {
		t.Errorf("%v", err)
	}
}

// TestCacheInTheWay: what stands where the cache wants a folder or a file is an error, and the model is not found.
func TestCacheInTheWay(t *testing.T) {
	for blocked, folder := range map[string]bool{"blobs": false, "refs/main": true, "snapshots/" + testCommit: false} {
		s := newServer(t, small())
		path := filepath.Join(s.client.Cache, "models--org--model", filepath.FromSlash(blocked))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if folder {
			err = errors.Join(err, os.Mkdir(path, 0o755))
		} else {
			err = errors.Join(err, os.WriteFile(path, nil, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.pull(); err == nil || !strings.Contains(err.Error(), "pull org/model@main: ") {
			t.Errorf("%s is in the way: %v", blocked, err)
		}
		if dir, ok := Find(s.client.Cache, Name{"org/model", "main"}); ok {
			t.Errorf("%s is in the way, and a model is found at %s", blocked, dir)
		}
	}
}

// TestDescriptionsWithoutSizes: a checksum alone is not enough, so the size is asked for.
func TestDescriptionsWithoutSizes(t *testing.T) {
	s := newServer(t, small())
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		api := strings.HasPrefix(r.URL.Path, "/api/")
		if api {
			fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"model.safetensors","blobId":%q}]}`, testCommit, s.etag("model.safetensors"))
		}
		return api
	}
	dir, err := s.pull()
	if err != nil {
		t.Fatal(err)
	}
	s.check(dir, "model.safetensors")
	if len(s.requests("HEAD")) != 1 {
		t.Errorf("requests %v", s.got)
	}
}
