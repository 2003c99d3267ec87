package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hone/chat"
	"hone/cmd/hone/cli"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/tokenizer"
)

// chatModel writes a tiny model with random weights, a chat template and <|im_end|> as the end of a turn.
func chatModel(t *testing.T, template string) string {
	t.Helper()
	dir := t.TempDir()
	docs := func(yield func([]byte, error) bool) {
		yield([]byte(strings.Repeat("user assistant hello there ", 9)), nil)
	}
	tok, err := tokenizer.Train(context.Background(), docs, tokenizer.TrainConfig{VocabSize: 290, EOS: "<|end|>", ChatTemplate: template,
		SpecialTokens: []string{"<|end|>", "<|im_start|>", "<|im_end|>"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.New([]byte(`{"model_type": "llama", "vocab_size": 290, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
		"num_key_value_heads": 2, "max_position_embeddings": 300, "initializer_range": 0.5, "tie_word_embeddings": false}`), dev, device.F32, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	if err := m.Save(dir, device.F32, model.Values); err != nil {
		t.Fatal(err)
	}
	return dir
}

func chatML(t *testing.T) string {
	t.Helper()
	p, err := chat.Builtin("chatml", chat.Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Source()
}

// hone runs a command line on what stdin says.
func hone(t *testing.T, stdin string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), &cli.App{In: strings.NewReader(stdin), Out: &o, Err: &e}, args)
	return o.String(), e.String(), code
}

type answers []reply

// reply is an answer of hone chat with --json.
type reply struct {
	Role, Content, Finish string
	Tokens                int
}

func readAnswers(t *testing.T, out string) (list answers) {
	t.Helper()
	for line := range strings.Lines(out) {
		var s reply
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		list = append(list, s)
	}
	return list
}

// TestChat talks over several turns. The second answer must be the one that the whole conversation gives in a fresh program.
func TestChat(t *testing.T) {
	dir, flags := chatModel(t, chatML(t)), []string{"--temperature", "0", "--max-new-tokens", "6", "--json"}
	args := append([]string{"chat", dir}, flags...)
	file := filepath.Join(t.TempDir(), "talk.json")
	out, errs, code := hone(t, "hello\n\nthere user\n/save "+file+"\n/reset\nhello\n/system be brief\nhello\n", args...)
	if code != 0 {
		t.Fatal(errs)
	}
	got := readAnswers(t, out)
	if len(got) != 4 || got[0] != got[2] || got[0].Role != "assistant" || got[0].Tokens == 0 || got[0].Finish == "" {
		t.Fatalf("got %+v, want four answers, the third as the first", got)
	}
	briefly, errs, code := hone(t, "hello\n", append(args, "--system", "be brief")...)
	if code != 0 || readAnswers(t, briefly)[0] != got[3] {
		t.Errorf("/system gives %+v, --system %s %s", got[3], briefly, errs)
	}
	var saved struct{ Messages []chat.Message }
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &saved); err != nil || len(saved.Messages) != 4 || saved.Messages[1].Content() != got[0].Content || saved.Messages[2].Content() != "there user" {
		t.Errorf("saved %s, %v", data, err)
	}
	prompt, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(prompt, []byte(`"role":"user"`)) {
		t.Errorf("%s, %v", prompt, err)
	}
	p, err := chat.New(chatML(t), "", chat.Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Render(saved.Messages[:3], chat.Options{AddGenerationPrompt: true})
	if err != nil {
		t.Fatal(err)
	}
	// hone generate reads special tokens as text, so the fresh program is hone chat with the conversation inside of a template.
	whole := filepath.Join(t.TempDir(), "whole.jinja")
	if err := os.WriteFile(whole, []byte("{% raw %}"+text.Text+"{% endraw %}{{ '\\n' if false }}"), 0o644); err != nil {
		t.Fatal(err)
	}
	fresh, errs, code := hone(t, "x\n", append(args, "--template", whole)...)
	if code != 0 {
		t.Fatal(errs)
	}
	if f := readAnswers(t, fresh)[0]; f.Tokens < got[1].Tokens || !strings.HasPrefix(f.Content, got[1].Content) {
		t.Errorf("the second answer is %+v, a fresh program gives %+v", got[1], f)
	}
}

// TestChatEnds without a terminal when it is told to, while it waits for a line and while it answers: there Ctrl-C and SIGTERM are about the program.
func TestChatEnds(t *testing.T) {
	dir := chatModel(t, chatML(t))
	for name, waits := range map[string]bool{"waiting": true, "answering": false} {
		ctx, cancel := context.WithCancel(t.Context())
		in, typed := io.Pipe()
		go func() {
			io.WriteString(typed, "hello\n") // and no end of the input
			typed.Write(nil)                 // returns when the next line is asked for
			cancel()
		}()
		var out, errs bytes.Buffer
		code := make(chan int, 1)
		go func() {
			a := &cli.App{In: in, Out: &out, Err: &errs}
			if !waits {
				a.Out = writing(cancel)
			}
			code <- run(ctx, a, []string{"chat", dir, "--max-new-tokens", "2"})
		}()
		select {
		case c := <-code:
			if c != 1 || errs.String() != "hone: interrupted\n" || waits && out.Len() == 0 {
				t.Errorf("%s: exit code %d, %q, %q", name, c, errs.String(), out.String())
			}
		case <-time.After(3 * time.Minute):
			t.Fatalf("%s: it waits for the next line", name)
		}
		typed.Close()
	}
}

// writing is called when something is written.
type writing func()

func (w writing) Write(p []byte) (int, error) { w(); return len(p), nil }

func TestChatStreams(t *testing.T) {
	dir := chatModel(t, chatML(t))
	out, errs, code := hone(t, "hello\nhello", "chat", dir, "--temperature", "0", "--max-new-tokens", "6")
	js, _, _ := hone(t, "hello\nhello", "chat", dir, "--temperature", "0", "--max-new-tokens", "6", "--json")
	want := ""
	for _, a := range readAnswers(t, js) {
		want += a.Content + "\n"
	}
	if code != 0 || out != want || errs != "" {
		t.Errorf("got %q %q, want %q", out, errs, want)
	}
}

func TestChatRefuses(t *testing.T) {
	dir, bare := chatModel(t, chatML(t)), chatModel(t, "")
	long := strings.Repeat("hello there ", 200)
	for _, c := range []struct {
		name, stdin, want string
		args              []string
	}{
		{"no template", "x", "no chat template, so it was not trained to chat; choose one with --template chatml", []string{bare}},
		{"unknown template", "x", `chat template "nope" is unknown`, []string{dir, "--template", "nope"}},
		{"command", "/nope", "/nope is no command", []string{dir}},
		{"save nowhere", "/save", "/save needs the name of a file", []string{dir}},
		{"too long", long, "/reset forgets it", []string{dir}},
		{"endless line", strings.Repeat("x", 2<<20), "longer than 1 MiB", []string{dir}},
		{"no model", "x", "hone pull org/model downloads it", []string{"org/model"}},
		{"no folder", "x", "nowhere", []string{"./nowhere"}},
		{"sampling", "x", "temperature is -1", []string{dir, "--temperature", "-1"}},
	} {
		t.Setenv("HF_HOME", t.TempDir())
		_, errs, code := hone(t, c.stdin+"\n", append([]string{"chat"}, c.args...)...)
		if code != 1 || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %d %q, want %q", c.name, code, errs, c.want)
		}
	}
}
