package chat

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// alternating are messages whose roles alternate, of n messages; with a system message first if system is not empty.
func alternating(n int, system string) (list []Message) {
	if system != "" {
		list = append(list, NewMessage("system", system))
	}
	for i := range n {
		list = append(list, NewMessage([]string{"user", "assistant"}[i%2], fmt.Sprintf("text %d", i)))
	}
	return list
}

// finderOf renders a conversation as Render does.
func finderOf(t *testing.T, p *Template, messages []Message, opt Options) *finder {
	t.Helper()
	in, err := p.inputs(messages, opt)
	if err != nil {
		t.Fatal(err)
	}
	r, prefixes, err := in.render(false)
	if err != nil {
		t.Fatal(err)
	}
	return &finder{prefixes: prefixes, text: r.Text.String()}
}

// TestPrefixEqualsRender: what a conversation is up to a message is what its first messages are by themselves, in each of hone's own templates. Which
// of them repeat nothing for it is written down: the others look at all messages before they write the first.
func TestPrefixEqualsRender(t *testing.T) {
	slow := map[string]bool{"deepseek-r1": true, "mistral-tools": true, "qwen3": true}
	for _, name := range Names() {
		p, err := Builtin(name, Tokens{BOS: "<s>", EOS: "</s>"})
		if err != nil {
			t.Fatal(err)
		}
		for _, system := range []string{"", "be brief"} {
			if _, err := p.Render(alternating(2, system), Options{}); err != nil { // it has no system messages
				continue
			}
			messages, shares := alternating(11, system), 0
			f := finderOf(t, p, messages, Options{})
			for i := 1; i < len(messages); i++ {
				for _, prompt := range []bool{false, true} {
					got, err := f.prefix(i, prompt)
					want, wantErr := p.Render(messages[:i], Options{AddGenerationPrompt: prompt})
					if text := f.text[:got.shared] + got.rest; err != nil || wantErr != nil || text != want.Text || got.len() != len(text) {
						t.Fatalf("%s, %d messages, prompt %v: %q (%v), want %q (%v)", name, i, prompt, text, err, want.Text, wantErr)
					}
					if got.shared > 0 {
						shares++
					}
				}
			}
			if least := 2 * (len(messages) - 4); shares < least && !slow[name] || shares > 0 && slow[name] {
				t.Errorf("%s: %d of %d prefixes share their text with the whole", name, shares, 2*len(messages)-2)
			}
		}
	}
}

// TestLongConversations: the work for a conversation grows with its length, not with the square of it. The template asks for the time in each round.
func TestLongConversations(t *testing.T) {
	p, err := New("{{ bos_token }}{% for m in messages %}{{ strftime_now('') }}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}", "", Tokens{BOS: "<s>", EOS: "</s>"})
	if err != nil {
		t.Fatal(err)
	}
	const n = 400
	rounds := 0
	r, err := p.Render(alternating(n, ""), Options{Now: func() time.Time { rounds++; return time.Time{} }})
	if err != nil || len(r.Answers) != n/2 || rounds > 2*n {
		t.Errorf("%d answers of %d messages, %d rounds, %v", len(r.Answers), n, rounds, err)
	}
	for k, a := range r.Answers {
		if got, want := r.Text[a.Start:a.End], fmt.Sprintf("text %d</s>", 2*k+1); got != want || a.Message != 2*k+1 {
			t.Fatalf("answer %d is %q of message %d, want %q", k, got, a.Message, want)
		}
	}
}

// TestPrompt: the prompt is what one rendering has more than the other, or else begins with the last whole token that both have.
func TestPrompt(t *testing.T) {
	f := &finder{text: "<s>ab cd"}
	for _, c := range []struct {
		shared        int
		with, without string
		want          string
	}{
		{0, "<a>x", "<a>", "x"}, {8, "x", "", "x"}, {8, "", "", ""}, {8, "<a>x", "<a>y", "x"}, {8, "<b>x", "<c>", "cd<b>x"}, {3, "q", "r", "q"}, {2, "q", "r", "<sq"}, {0, "q r", "s", "q r"}, {0, "q rs", "q rt", "rs"}, {4, "bc", "bd", "abc"}, {8, ">x", "y", "cd>x"},
	} {
		if got := f.prompt(rendering{c.shared, c.with}, rendering{c.shared, c.without}); got != c.want {
			t.Errorf("%q: %q and %q: %q, want %q", f.text[:c.shared], c.with, c.without, got, c.want)
		}
	}
}

// BenchmarkRender of one conversation, by the number of its messages.
func BenchmarkRender(b *testing.B) {
	for _, name := range []string{"chatml", "llama3.1", "qwen3"} {
		p, err := Builtin(name, Tokens{BOS: "<s>", EOS: "</s>"})
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{20, 200, 2000} {
			var messages []Message
			for i := range n {
				messages = append(messages, NewMessage([]string{"user", "assistant"}[i%2], strings.Repeat("some words ", 10)))
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					if _, err := p.Render(messages, Options{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
