package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"hone/cmd/hone/cli"
)

// output is a buffer that a running command writes and a test reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// wait calls f until it is satisfied.
func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("waited too long for %s", what)
}

// TestLabel answers prompts with a model that chats, judges a pair over HTTP and exports it.
func TestLabel(t *testing.T) {
	model, dir := chatModel(t, chatML(t)), t.TempDir()
	prompts, store, out := filepath.Join(dir, "prompts.txt"), filepath.Join(dir, "l.sqlite"), filepath.Join(dir, "p.jsonl")
	if err := os.WriteFile(prompts, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	said, notes, code := &output{}, &output{}, make(chan int)
	go func() {
		code <- run(ctx, &cli.App{In: strings.NewReader(""), Out: said, Err: notes},
			[]string{"label", model, "--prompts", prompts, "--store", store, "--listen", "127.0.0.1:0", "--max-new-tokens", "8"})
	}()
	address := regexp.MustCompile(`open (http://127\.0\.0\.1:\d+)/(\?token=\w+)`)
	wait(t, "the address", func() bool { return address.MatchString(notes.String()) })
	found := address.FindStringSubmatch(notes.String())
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}
	get := func(path string) (v struct {
		Pair   int64
		Prompt json.RawMessage
	}) {
		resp, err := browser.Get(found[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_ = json.NewDecoder(resp.Body).Decode(&v) // the page itself is no JSON
		return v
	}
	get("/" + found[2])
	wait(t, "answers", func() bool { return get("/api/next?annotator=ann").Pair != 0 })
	if got := string(get("/api/next?annotator=ann").Prompt); got != `[{"role":"user","content":"one"}]` {
		t.Errorf("the prompt is %s", got)
	}
	resp, err := browser.Post(found[1]+"/api/judge", "application/json", strings.NewReader(`{"pair":1,"annotator":"ann","verdict":"left"}`))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("judging gives %v, error %v", resp, err)
	}
	resp.Body.Close()
	cancel()
	if got := <-code; got != 0 {
		t.Fatalf("exit code %d: %s", got, notes)
	}
	if got := said.String(); !strings.Contains(got, "1 annotators, 0 pairs judged by several\nnext: hone label export "+store) { // of one person there is no agreement
		t.Errorf("at the end: %s", got)
	}
	if got := run(t.Context(), &cli.App{Out: &output{}, Err: notes}, []string{"label", "export", store, "--out", out}); got != 0 {
		t.Fatalf("export: %s", notes)
	}
	text, err := os.ReadFile(out)
	if err != nil || strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), `"annotator":"ann"`) {
		t.Errorf("export is %q, error %v", text, err)
	}
}

func TestLabelRefuses(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "l.sqlite")
	if err := os.WriteFile(filepath.Join(dir, "empty.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	named := strings.NewReplacer("MODEL", chatModel(t, chatML(t)), "STORE", store, "DIR", dir)
	for _, c := range []struct {
		args string
		want string
	}{
		{"--prompts x", "prompts need a model"},
		{"--store STORE", "has nothing to judge"},
		{"MODEL --prompts DIR/empty.txt", "empty"},
		{"MODEL --prompts x --temperature 0", "answers twice the same"},
		{"MODEL --temperature-b -2", "temperature-b is -2"},
		{"export DIR/none --out x", "there is no store"},
		{"export DIR/empty.txt", `"out" not set`},
		{"--store DIR/empty.txt --listen 1.2.3.4.5:1", "has nothing to judge"}, // an empty file becomes a store
		{"--store DIR", "no store of labels"},
	} {
		var notes output
		args := append([]string{"label"}, strings.Fields(c.args)...)
		if !strings.Contains(c.args, "--store") && !strings.HasPrefix(c.args, "export") {
			args = append(args, "--store", "STORE")
		}
		for i := range args { // not before they are cut: folders may have spaces in their names
			args[i] = named.Replace(args[i])
		}
		if code := run(t.Context(), &cli.App{Out: &output{}, Err: &notes}, args); code != 1 || !strings.Contains(notes.String(), c.want) {
			t.Errorf("%s: exit code %d, %s, want %q", c.args, code, notes.String(), c.want)
		}
	}
	if left, err := filepath.Glob(store + "*"); err != nil || len(left) > 0 {
		t.Errorf("calls that are refused leave %v, %v", left, err)
	}
}
