package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
)

// chatAdapter writes a LoRA of its own on a model.
func chatAdapter(t *testing.T, dir string, shift float64) string {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Open(dir, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, adapter.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	if err := l.Initialize(dev, device.F32, 1); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Added() {
		v := make([]float32, p.Len())
		for i := range v {
			v[i] = float32(math.Sin(float64(i) + shift))
		}
		p.Write(v)
	}
	out := filepath.Join(t.TempDir(), "adapter")
	if err := l.Save(out, device.F32, model.Values); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestChatAdapters changes between two adapters in a conversation: each answer is that of a program that has only what is on.
func TestChatAdapters(t *testing.T) {
	dir := chatModel(t, chatML(t))
	first, second := chatAdapter(t, dir, 1), chatAdapter(t, dir, 2)
	flags := []string{"--temperature", "0", "--max-new-tokens", "12", "--json"}
	say := func(stdin string, args ...string) answers {
		t.Helper()
		out, errs, code := hone(t, stdin, append(append([]string{"chat", dir}, args...), flags...)...)
		if code != 0 {
			t.Fatal(errs)
		}
		return readAnswers(t, out)
	}
	both := []string{"--adapter", first, "--adapter", second}
	got := say("hello\n/reset\n/adapter 2\nhello\n/reset\n/adapter 0\nhello\n/reset\n/adapter 1 2\nhello\n", both...)
	want := append(append(append(say("hello\n", both...), say("hello\n", "--adapter", second)...), say("hello\n")...), say("hello\n", both...)...)
	seen := map[string]bool{}
	for i := range want {
		if got[i].Content != want[i].Content {
			t.Errorf("answer %d is %q, want %q", i, got[i].Content, want[i].Content)
		}
		seen[want[i].Content] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d different answers of three settings, which shows little", len(seen))
	}
	// What was said before is read again by the model as it is then: nothing of the keys and values stays.
	if a, b := say("hello\n/adapter 2\n/adapter 1 2\nhow\n", both...), say("hello\nhow\n", both...); a[1].Content != b[1].Content {
		t.Errorf("after changing and changing back: %q, want %q", a[1].Content, b[1].Content)
	}
	for command, want := range map[string]string{"/adapter 3": "no number of an adapter", "/adapter two": "no number of an adapter"} {
		if _, errs, code := hone(t, command+"\n", append([]string{"chat", dir}, both...)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: %d, %s", command, code, errs)
		}
	}
	if _, errs, code := hone(t, "/adapter 1\n", "chat", dir, "--adapter", first); code == 0 || !strings.Contains(errs, "not several adapters") {
		t.Errorf("with one adapter: %d, %s", code, errs)
	}
}
