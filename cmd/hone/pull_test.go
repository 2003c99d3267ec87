package main

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serveModel is a hub that has the files of a folder as org/tiny.
func serveModel(t *testing.T, dir, token string) *httptest.Server {
	commit := strings.Repeat("ab", 20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token != "" && r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/api/models/org/tiny/revision/main") {
			var siblings []map[string]any
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				data, _ := os.ReadFile(filepath.Join(dir, e.Name()))
				sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
				siblings = append(siblings, map[string]any{"rfilename": e.Name(), "size": len(data), "blobId": hex.EncodeToString(sum[:])})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": siblings})
			return
		}
		if name, ok := strings.CutPrefix(r.URL.Path, "/org/tiny/resolve/"+commit+"/"); ok {
			http.ServeFile(w, r, filepath.Join(dir, name))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// TestPull downloads a model from a local hub and talks with it by its name.
func TestPull(t *testing.T) {
	dir := chatModel(t, chatML(t))
	srv := serveModel(t, dir, "secret")
	home := t.TempDir()
	for k, v := range map[string]string{"HF_ENDPOINT": srv.URL + "/", "HF_HOME": home, "HF_TOKEN": "secret", "HF_HUB_CACHE": "", "HF_HUB_OFFLINE": "0"} {
		t.Setenv(k, v)
	}
	out, errs, code := hone(t, "", "pull", "org/tiny")
	if code != 0 || strings.TrimSpace(out) != filepath.Join(home, "hub", "models--org--tiny", "snapshots", strings.Repeat("ab", 20)) {
		t.Fatalf("%d %q %q", code, out, errs)
	}
	js, _, code := hone(t, "", "pull", "org/tiny", "--json")
	var r struct {
		Dir               string
		Bytes, Downloaded int64
	}
	if err := json.Unmarshal([]byte(js), &r); err != nil || code != 0 || r.Dir != strings.TrimSpace(out) || r.Downloaded != 0 || r.Bytes == 0 {
		t.Errorf("a second pull: %s, %v", js, err)
	}
	args := []string{"--temperature", "0", "--max-new-tokens", "4"}
	byName, errs, code := hone(t, "hello\n", append([]string{"chat", "org/tiny"}, args...)...)
	byPath, _, _ := hone(t, "hello\n", append([]string{"chat", dir}, args...)...)
	if code != 0 || byName != byPath || byName == "" {
		t.Errorf("by name %q, by path %q, %s", byName, byPath, errs)
	}
	if one, errs, code := hone(t, "", append([]string{"generate", "org/tiny@main", "hello"}, args...)...); code != 0 || !strings.HasPrefix(one, "hello") {
		t.Errorf("generate: %q %s", one, errs)
	}
	t.Setenv("HF_TOKEN", "")
	if err := os.WriteFile(filepath.Join(home, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := hone(t, "", "pull", "org/tiny", "--include", "config.json"); code != 0 {
		t.Errorf("with the token of a login: %s", errs)
	}
	srv.Close()
	t.Setenv("HF_HUB_OFFLINE", "true")
	if again, errs, code := hone(t, "", "pull", "org/tiny"); code != 0 || again != out {
		t.Errorf("offline: %q %s", again, errs)
	}
	if _, errs, code := hone(t, "", "pull", "org/other"); code != 1 || !strings.Contains(errs, "HF_HUB_OFFLINE is set, so nothing is downloaded, and the cache") {
		t.Errorf("offline, a model that the cache does not have: %d %s", code, errs)
	}
}

func TestPullRefuses(t *testing.T) {
	srv := serveModel(t, t.TempDir(), "secret")
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_TOKEN", "")
	t.Setenv("HF_HUB_OFFLINE", "")
	for _, c := range []struct {
		endpoint, want string
		args           []string
	}{
		{srv.URL, "private; check the name, or set HF_TOKEN", []string{"org/tiny"}},
		{srv.URL, "write ORG/NAME", []string{"a b"}},
		{srv.URL, "is not a revision", []string{"a/b@../x"}},
		{srv.URL, "is not a pattern", []string{"a/b", "--include", "["}},
		{"ftp://x", "must begin with https://", []string{"a/b"}},
	} {
		t.Setenv("HF_ENDPOINT", c.endpoint)
		_, errs, code := hone(t, "", append([]string{"pull"}, c.args...)...)
		if code != 1 || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %d %q, want %q", c.args, code, errs, c.want)
		}
	}
}
