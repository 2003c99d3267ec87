package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/tokenizer"
)

// told are the answers as MESSAGE:TEXT.
func told(r Rendered) []string {
	out := []string{}
	for _, a := range r.Answers {
		out = append(out, fmt.Sprintf("%d:%s", a.Message, r.Text[a.Start:a.End]))
	}
	return out
}

// talk is a conversation of ROLE:TEXT.
func talk(messages ...string) (list []Message) {
	for _, m := range messages {
		role, text, _ := strings.Cut(m, ":")
		list = append(list, NewMessage(role, text))
	}
	return list
}

// TestAnswersOfOddTemplates: each has one thing that the search for answers must see.
func TestAnswersOfOddTemplates(t *testing.T) {
	const prompt = "{% if add_generation_prompt %}<assistant>{% endif %}"
	each := func(body string) string { return "{% for m in messages %}" + body + "{% endfor %}" }
	asked := talk("user:ask", "assistant:reply")
	twice := talk("user:ask", "assistant:one", "user:more", "assistant:two")
	for _, c := range []struct {
		name, template string
		messages       []Message
		want           []string
	}{
		{"a generation block says what counts, and nothing else does", each("[{% if m.role == 'user' %}{{ m.content }}{% else %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}]</s>"), twice, []string{"1:one", "3:two"}},
		{"a block in a loop over numbers is of the message that is set there", "{% for i in range(messages | length) %}{% set m = messages[i] %}[{% generation %}{{ m.role }}{% endgeneration %}]{% endfor %}", asked, []string{"0:user", "1:assistant"}},
		{"an empty block is no answer", each("[{% generation %}{% endgeneration %}{{ m.content }}]"), asked, []string{}},
		{"a block outside of the loop is of the last message", "{% generation %}hello{% endgeneration %}" + each("[{{ m.content }}]"), twice, []string{"3:hello"}},
		{"a block around the loop is of the first", "{% generation %}" + each("[{{ m.content }}]") + "{% endgeneration %}", asked, []string{"0:[ask][reply]"}},
		{"answers come as they stand", "{% for m in messages | reverse %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}", twice, []string{"3:two</s>", "1:one</s>"}},
		{"a message that stands twice is two answers", each("A{{ m.content }}.") + "-" + each("B{{ m.content }}."), asked, []string{"1:Areply.", "1:reply."}},
		{"a message that another one's turn writes", "{% set ns = namespace(last='') %}" + each("{{ ns.last }}|{% set ns.last = m.content %}") + "{{ ns.last }}!", twice, []string{"1:one", "3:two"}},
		{"the prompt is the header", each("<{{ m.role }}>{{ m.content }}</s>") + prompt, asked, []string{"1:reply</s>"}},
		{"what the template writes behind the prompt is the model's", each("<{{ m.role }}>{% if m.role != 'user' %}THINK {% endif %}{{ m.content }}</s>") + prompt, asked, []string{"1:THINK reply</s>"}},
		{"also where a shorter conversation begins otherwise", "{{ messages | length }} " + each("<{{ m.role }}>{% if m.role != 'user' %}THINK {% endif %}{{ m.content }}</s>") + prompt, asked, []string{"1:THINK reply</s>"}},
		{"a prompt that is longer than the header", "{{ messages | length }} " + each("<{{ m.role }}>{{ m.content }}</s>") + "{% if add_generation_prompt %}<assistant><think>{% endif %}", asked, []string{"1:reply</s>"}},
		{"prompt and header that part within a word", "{{ messages | length }} " + each("<{{ m.role }}>{% if m.role != 'user' %}X1{% endif %}{{ m.content }}</s>") + "{% if add_generation_prompt %}<assistant>X2{% endif %}", asked, []string{"1:X1reply</s>"}},
		{"a prompt at the front of all", "{% if add_generation_prompt %}G{% endif %}" + each("bot {{ m.content }}</s>"), asked, []string{"1:bot reply</s>"}},
		{"without a prompt the model writes the header, too", each("<{{ m.role }}>{{ m.content }}</s>"), asked, []string{"1:<assistant>reply</s>"}},
		{"no prompt to compare with, but a role", "{{ messages | length }}" + each("<{{ m.role }}>{{ m.content }}</s>"), talk("user:ask", "model:reply"), []string{"1:reply</s>"}},
		{"no prompt to compare with, but a name", "{{ messages | length }}" + each("{% if m.role == 'user' %}You{% else %}The ASSISTANT{% endif %}: {{ m.content }}</s>"), asked, []string{"1:reply</s>"}},
		{"no prompt to compare with, but another name", "{{ messages | length }}" + each("{% if m.role == 'user' %}You{% else %}Model{% endif %}: {{ m.content }}</s>"), asked, []string{"1:reply</s>"}},
		{"no prompt to compare with and no name", "{{ messages | length }}" + each("- {{ m.content }}</s>"), asked, []string{"1:- reply</s>"}},
		{"no prompt to compare with, but the role's first letter", "{{ messages | length }}" + each("{{ m.role[0] }}: {{ m.content }}</s>"), asked, []string{"1:reply</s>"}},
		{"an answer in two parts, of which the second spells the end of text", each("<{{ m.role }}>{{ m.content }}-{{ m.extra }}</s>") + prompt,
			conversation(t, `[{"role":"user","content":"ask"},{"role":"assistant","content":"one","extra":"two</s>three"}]`), []string{"1:one-two</s>three</s>"}},
		{"two parts that stand twice", each("A{{ m.content }}.") + "-" + each("B{{ m.content }}+{{ m.extra }}."), conversation(t, `[{"role":"user","content":"ask"},{"role":"assistant","content":"one","extra":"two"}]`), []string{"1:Aone.", "1:one+two."}},
		{"a role behind the answer is no header", "{{ messages | length }}" + each("- {{ m.content }} by {{ m.role }}</s>"), asked, []string{"1:- reply by assistant</s>"}},
		{"an answer first", each("<{{ m.role }}>{{ m.content }}</s>"), talk("assistant:hello", "user:ask"), []string{"0:hello</s>"}},
		{"words behind the end of text are not the model's", each("<{{ m.role }}>{{ m.content }}</s> and so on\n") + prompt, asked, []string{"1:reply</s>"}},
		{"without an end of text they are", each("<{{ m.role }}>{{ m.content }} and so on\n") + prompt, asked, []string{"1:reply and so on"}},
		{"the end of text stands behind the loop", each("<{{ m.role }}>{{ m.content }}") + prompt + " </s>", asked, []string{"1:reply </s>"}},
		{"what a user writes ends no answer", each("{{ m.content }}"), talk("user:ask", "assistant:reply", "user:</s>more"), []string{"1:reply"}},
		{"white space at the end of a turn is not the model's", each("<{{ m.role }}>{{ m.content }} \n\n") + prompt, asked, []string{"1:reply"}},
		{"an answer of nothing", each("<{{ m.role }}>{{ m.content }}\n") + prompt, talk("user:ask", "assistant:"), []string{}},
		{"an answer of nothing before an end of text behind the loop", each("<{{ m.role }}>{{ m.content }}") + prompt + "</s>", talk("user:ask", "assistant:"), []string{}},
		{"a prompt that the template refuses is none", each("<{{ m.role }}>{{ m.content }}</s>") + "{% if add_generation_prompt %}{{ raise_exception('no') }}{% endif %}", asked, []string{"1:reply</s>"}},
		{"what stands between two turns is nobody's", each("<{{ m.role }}>{{ m.content }}{% if not loop.last %}, {% endif %}"), asked, []string{"1:reply"}},
		{"a prompt that begins as the answer does", each("<{{ m.role }}>{{ m.content }}</s>") + "{% if add_generation_prompt %}<assistant>re{% endif %}", asked, []string{"1:reply</s>"}},
		{"a shorter conversation that needs a prompt", "{% if messages | length > 1 %} {% endif %}" + each("<u>{{ m.content }}</s>") + "{% if not add_generation_prompt and messages | length == 1 %}{{ raise_exception('no') }}{% endif %}",
			asked, []string{"1:<u>reply</s>"}},
		{"a prompt that is the header", "{{ messages | length }} " + each("bot{{ m.content }}</s>") + "{% if add_generation_prompt %}bot{% endif %}", asked, []string{"1:reply</s>"}},
		{"a prompt that goes on behind the header", "{{ messages | length }} " + each("bot{{ m.content }}</s>") + "{% if add_generation_prompt %}botX{% endif %}", asked, []string{"1:reply</s>"}},
		{"a header that goes on behind the prompt", "{{ messages | length }} " + each("botX{{ m.content }}</s>") + "{% if add_generation_prompt %}bot{% endif %}", asked, []string{"1:Xreply</s>"}},
		{"prompt and header that part where one has a sign", "{{ messages | length }} " + each("a:b>{{ m.content }}</s>") + "{% if add_generation_prompt %}a:bc{% endif %}", asked, []string{"1:b>reply</s>"}},
		{"an answer that the template leaves out", each("{% if m.role == 'user' %}<{{ m.content }}>{% endif %}"), twice, []string{}},
	} {
		p, err := New(c.template, "", Tokens{EOS: "</s>"})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		r, err := p.Render(c.messages, Options{})
		if d := cmp.Diff(c.want, told(r)); d != "" || err != nil {
			t.Errorf("%s: -want +got:\n%s\nin %q (%v)", c.name, d, r.Text, err)
		}
	}
	// without a token for the end of text, the empty one that every text begins with must not count
	p, err := New(each("<{{ m.role }}>{{ m.content }}")+prompt+" \n!", "", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Render(asked, Options{}); err != nil || !slices.Equal(told(r), []string{"1:reply"}) {
		t.Errorf("%q in %q, %v", told(r), r.Text, err)
	}
	if p, err = New(each("<{{ m.role }}>{{ m.content }}.\n")+prompt, "", Tokens{}); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Render(asked, Options{}); err != nil || !slices.Equal(told(r), []string{"1:reply."}) {
		t.Errorf("%q in %q, %v", told(r), r.Text, err)
	}
}

// TestInputOfOptions: tools, documents and further variables are input as messages are, and of the special tokens only those that there are are defined.
func TestInputOfOptions(t *testing.T) {
	p, err := New("{{ tools[0] }}-{{ documents[0] }}-{{ x }}-{{ bos_token }}{{ eos_token is defined }}", "", Tokens{BOS: "<s>"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Render(talk("user:ask"), Options{Tools: json.RawMessage(`["aa"]`), Documents: json.RawMessage(`["bb"]`), Vars: map[string]json.RawMessage{"x": json.RawMessage(`"cc"`)}})
	if want := []Span{{0, 2}, {3, 5}, {6, 8}}; err != nil || r.Text != "aa-bb-cc-<s>False" || !slices.Equal(r.Input, want) {
		t.Errorf("%v of %q, want %v (%v)", r.Input, r.Text, want, err)
	}
}

// TestInputTouches: a role and a content that touch are one stretch of the input.
func TestInputTouches(t *testing.T) {
	p, err := New("{% for m in messages %}{{ m.role }}{{ m.content }}{{ tools }}.{% endfor %}", "", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Render(talk("user:ask", "assistant:reply"), Options{Tools: json.RawMessage(`null`)})
	if want := []Span{{0, 7}, {12, 26}}; err != nil || r.Text != "useraskNone.assistantreplyNone." || !slices.Equal(r.Input, want) {
		t.Errorf("%v in %q, want %v (%v)", r.Input, r.Text, want, err)
	}
}

// parsed is a byte-level tokenizer with special tokens from id 300 on.
func parsed(t *testing.T, tokens ...tokenizer.AddedToken) *tokenizer.Tokenizer {
	t.Helper()
	for i := range tokens {
		tokens[i].ID = int32(300 + i)
	}
	text, err := testTokenizer(t).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	model := file["model"].(map[string]any)
	for name := range model["vocab"].(map[string]any) {
		if len([]rune(name)) > 1 {
			delete(model["vocab"].(map[string]any), name)
		}
	}
	model["merges"], file["added_tokens"], file["post_processor"] = []any{}, tokens, nil
	if text, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestSmuggledSpans: the first special token of a stretch, the longest where several begin, and only special ones.
func TestSmuggledSpans(t *testing.T) {
	tok := parsed(t, tokenizer.AddedToken{Content: "<e>", Special: true}, tokenizer.AddedToken{Content: "<e><e>x", Special: true}, tokenizer.AddedToken{Content: "e>", Special: true}, tokenizer.AddedToken{Content: "<p>"},
		tokenizer.AddedToken{Content: "<l>+<l>", Special: true}, tokenizer.AddedToken{Content: "<l>", Special: true})
	for text, want := range map[string][]Span{"": nil, "a": nil, "<e>": {{0, 3}}, "a<e><e>": {{1, 4}, {4, 7}}, "<e><e>x": {{0, 7}}, "<e><l>+<l>": {{0, 3}, {3, 10}}, "<l>+<l>": {{0, 7}}, "<l>+": {{0, 3}}, "<e>e>": {{0, 3}, {3, 5}}, "<p><e>": {{3, 6}}, "e><e>": {{0, 2}, {2, 5}}} {
		if got := smuggled(tok, Rendered{Text: text, Input: []Span{{0, len(text)}}}); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := smuggled(tok, Rendered{Text: "<e><e>", Input: []Span{{1, 3}, {3, 5}}}); !slices.Equal(got, []Span{{1, 3}}) {
		t.Errorf("%v", got)
	}
}

// TestSmuggledMany: a message of nothing but special tokens is read once for each kind of token, not once for each token in it.
func TestSmuggledMany(t *testing.T) {
	var added []tokenizer.AddedToken
	for i := range 100 {
		added = append(added, tokenizer.AddedToken{Content: fmt.Sprintf("<|r%d|>", i), Special: true})
	}
	const n = 20_000
	text := strings.Repeat("<|r7|>", n) + "<|r8|>"
	got := smuggled(parsed(t, added...), Rendered{Text: text, Input: []Span{{0, 6 * n}, {6 * n, len(text)}}})
	if len(got) != n+1 || got[0] != (Span{0, 6}) || got[n] != (Span{6 * n, 6*n + 6}) {
		t.Errorf("%d spans, the last %v", len(got), got[max(0, len(got)-1):])
	}
}

// TestUnknownStays: the unknown token is special, too, but nobody smuggles by it; a text is not cut where it stands.
func TestUnknownStays(t *testing.T) {
	tok, err := tokenizer.Parse([]byte(`{"version":"1.0","added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true}],
		"normalizer":{"type":"Prepend","prepend":"_"},"model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,
		"vocab":{"<unk>":0,"<s>":1,"a":2,"b":3,"_":4,"ab":5},"merges":[["a","b"]]}}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New("{% for m in messages %}<s>{{ m.content }}{% endfor %}", "", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Encode(tok, talk("user:abxyab", "assistant:ab"), Options{})
	if want := []int32{1, 4, 5, 0, 5, 1, 4, 5}; err != nil || !slices.Equal(e.IDs, want) {
		t.Errorf("%v, want %v (%v)", e.IDs, want, err)
	}
	// the token that the normalizer puts before a text is of what the text begins with
	if want := []int32{-1, -1, -1, -1, -1, 1, 1, 1}; !slices.Equal(e.Answer, want) {
		t.Errorf("the answers are %v, want %v", e.Answer, want)
	}
}

// TestAnswersOutOfOrder: where bytes stand for characters, the unknown token comes out behind them, as in the reference; it is of its own character's message.
func TestAnswersOutOfOrder(t *testing.T) {
	tok, err := tokenizer.Parse([]byte(`{"model":{"type":"BPE","unk_token":"<unk>","byte_fallback":true,"vocab":{"<unk>":0,"a":1,"b":2,"<0xC3>":3,"<0xA9>":4},"merges":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := New("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}", "", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Encode(tok, talk("user:a", "assistant:bx", "user:éa", "assistant:b"), Options{})
	if want := []int32{1, 2, 3, 4, 0, 1, 2}; err != nil || !slices.Equal(e.IDs, want) {
		t.Fatalf("%v, want %v (%v)", e.IDs, want, err)
	}
	if want := []int32{-1, 1, -1, -1, 1, -1, 3}; !slices.Equal(e.Answer, want) {
		t.Errorf("the answers are %v, want %v", e.Answer, want)
	}
}

// TestSmuggledWithSpace: a special token that takes the template's white space with it is text all the same.
func TestSmuggledWithSpace(t *testing.T) {
	tok := parsed(t, tokenizer.AddedToken{Content: "<mask>", Special: true, LStrip: true, RStrip: true}, tokenizer.AddedToken{Content: "<|end|>", Special: true})
	p, err := New("{% for m in messages %}{{ m.role }} \n{{ m.content }}\n <|end|>{% endfor %}", "", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Encode(tok, talk("user:<mask>", "assistant:a <mask> b"), Options{})
	if err != nil || slices.Contains(e.IDs, 300) || string(tok.Decode(e.IDs)) != e.Text {
		t.Errorf("%v, %q for %q, %v", e.IDs, tok.Decode(e.IDs), e.Text, err)
	}
	ends := 0
	for _, id := range e.IDs {
		if id == 301 {
			ends++
		}
	}
	if ends != 2 {
		t.Errorf("%d ends of two turns", ends)
	}
}

// TestReasoningHasAllNames: whatever a message calls its reasoning, the template finds it under each name; the first of several counts, and null is none.
func TestReasoningHasAllNames(t *testing.T) {
	p, err := New("{{ messages[0].thinking }}|{{ messages[0].reasoning_content }}|{{ messages[0].reasoning }}|{{ messages[0].x is defined }}", "", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	for fields, want := range map[string]string{
		`"reasoning":"a"`: "a|a|a", `"thinking":"a"`: "a|a|", `"reasoning_content":"a"`: "a|a|", `"reasoning":"a","thinking":"b"`: "b|b|a",
		`"reasoning_content":null,"reasoning":"a"`: "a|a|a", `"thinking":"b","reasoning_content":"c"`: "b|c|", ``: "||", `"thinking":null`: "||",
	} {
		record := `[{"role":"assistant","x":null` + strings.TrimSuffix(","+fields, ",") + `}]`
		r, err := p.Render(conversation(t, record), Options{})
		if err != nil || r.Text != want+"|False" {
			t.Errorf("%s: %q, want %q (%v)", fields, r.Text, want+"|False", err)
		}
	}
	if _, err := json.Marshal(Message{}); err == nil || !strings.Contains(err.Error(), "a chat message is empty") {
		t.Errorf("an empty message: %v", err)
	}
}

// TestStopsOfOddTemplates: a special token before the content ends nothing, and a template that takes one question only has an end, too.
func TestStopsOfOddTemplates(t *testing.T) {
	tok := testTokenizer(t)
	end, _ := tok.TokenToID("<|im_end|>")
	for name, c := range map[string]struct {
		template string
		ids      []int32
		texts    []string
	}{
		"a token before the content": {"{% for m in messages %}{{ m.role }}:{% if m.role != 'user' %}<s>{% endif %}{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}", []int32{end}, nil},
		"one question only":          {"{% if messages | length > 2 %}{{ raise_exception('no') }}{% endif %}{% for m in messages %}{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}", []int32{end}, nil},
		"a word":                     {"{% for m in messages %}{{ m.role }}:{{ m.content }} [END]\n{% endfor %}", nil, []string{"[END]"}},
		"nothing":                    {"{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}", nil, nil},
		"no question at all":         {"{{ raise_exception('no') }}", nil, nil},
	} {
		p, err := New(c.template, "", Tokens{BOS: "<s>", EOS: "</s>"})
		if err != nil {
			t.Fatal(err)
		}
		if ids, texts := p.Stops(tok); !slices.Equal(ids, c.ids) || !slices.Equal(texts, c.texts) {
			t.Errorf("%s: %v and %q, want %v and %q", name, ids, texts, c.ids, c.texts)
		}
	}
}

// TestChoose: a name is a file or one of hone's own; without one the model's own counts, of which there may be none.
func TestChoose(t *testing.T) {
	tok, dir := testTokenizer(t), t.TempDir()
	if p, err := Choose("", dir, tok); p != nil || err != nil {
		t.Errorf("a model without a template: %v, %v", p, err)
	}
	if err := (*Template)(nil).Save(dir); err != nil {
		t.Errorf("no template is saved: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("saving no template made %v", entries)
	}
	file := filepath.Join(dir, "my.jinja")
	if err := os.WriteFile(file, []byte("{{ bos_token }}mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Choose(file, dir, tok)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Render(talk("user:x"), Options{}); err != nil || r.Text != "<s>mine" {
		t.Errorf("%q, %v", r.Text, err)
	}
	if err := p.Save(dir); err != nil {
		t.Fatal(err)
	}
	if own, err := Choose("", dir, tok); err != nil || own.Source() != p.Source() {
		t.Errorf("what was saved is not the model's: %v", err)
	}
	both, err := New("plain", "{{ tools[0] }}", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	saved := t.TempDir()
	if err := both.Save(saved); err != nil {
		t.Fatal(err)
	}
	again, err := Load(saved, Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	for tools, want := range map[string]string{`["t"]`: "t", ``: "plain"} {
		o := Options{}
		if tools != "" {
			o.Tools = json.RawMessage(tools)
		}
		if r, err := again.Render(talk("user:x"), o); err != nil || r.Text != want {
			t.Errorf("with the tools %s what was saved gives %q, want %q (%v)", tools, r.Text, want, err)
		}
	}
	if p, err := Choose("chatml", dir, tok); err != nil || !strings.Contains(p.Source(), "im_start") {
		t.Errorf("chatml: %v", err)
	}
	for _, name := range []string{"nothing", "../chat", "x/../chatml", `x\chatml`} {
		if _, err := Choose(name, dir, tok); err == nil || !strings.Contains(err.Error(), "chat_template") || !strings.Contains(err.Error(), "chatml") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "chat_template.jinja"), maxFile+1); err != nil { // no block of it is on the disk
		t.Fatal(err)
	}
	if _, err := Load(dir, Tokens{}); err == nil || !strings.Contains(err.Error(), "has 67108865 bytes, more than the 67108864 that are read") || !strings.HasPrefix(err.Error(), "read chat template: ") {
		t.Errorf("a template of 64 MiB and a byte: %v", err)
	}
	if _, err := Choose("", dir, tok); err == nil {
		t.Error("a template that cannot be read is chosen")
	}
	for config, want := range map[string]error{`{"chat_template":null}`: ErrNoTemplate, `{}`: ErrNoTemplate, `{"chat_template":[]}`: ErrNoTemplate, `{"chat_template":[{"name":"rag","template":"x"}]}`: ErrNoTemplate} {
		other := t.TempDir()
		if err := os.WriteFile(filepath.Join(other, "tokenizer_config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(other, Tokens{}); !errors.Is(err, want) {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// TestHidden: a special token that bytes of the input became and do not spell is found; one that they spell, the unknown token, and other tokens are not.
func TestHidden(t *testing.T) {
	tok, err := tokenizer.Parse([]byte(`{"version":"1.0","added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true}],
		"model":{"type":"WordLevel","unk_token":"<unk>","vocab":{"<unk>":0,"<s>":1,"a":2,"xb":3}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text         string
		ids          []int32
		spans, input []Span
		plain        []Span
		want         []Span
	}{
		"made of what does not spell it":     {"abc", []int32{1}, []Span{{0, 3}}, []Span{{0, 3}}, nil, []Span{{0, 3}}},
		"the second of two inputs":           {"abcabc", []int32{2, 1}, []Span{{0, 3}, {3, 6}}, []Span{{0, 3}, {3, 6}}, nil, []Span{{3, 6}}},
		"longer than the input":              {"abc", []int32{1}, []Span{{0, 3}}, []Span{{0, 2}}, nil, nil},
		"begins before the input":            {"abc", []int32{1}, []Span{{0, 3}}, []Span{{1, 3}}, nil, nil},
		"no input":                           {"abc", []int32{1}, []Span{{0, 3}}, nil, nil, nil},
		"encoded without special tokens":     {"abcabc", []int32{1, 1}, []Span{{0, 3}, {3, 6}}, []Span{{0, 6}}, []Span{{0, 3}, {3, 6}}, nil},
		"stands for nothing":                 {"abc", []int32{1}, []Span{{1, 1}}, []Span{{0, 3}}, nil, nil},
		"no special token":                   {"abc", []int32{2}, []Span{{0, 3}}, []Span{{0, 3}}, nil, nil},
		"the unknown token, which xb is not": {"axb", []int32{2, 0, 0}, []Span{{0, 1}, {1, 2}, {2, 3}}, []Span{{0, 3}}, nil, nil},
	} {
		if got := hidden(tok, Encoded{IDs: c.ids, Text: c.text}, c.spans, c.input, c.plain); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestNoBOS: without a beginning-of-text token no token may not stand twice, also not token 0.
func TestNoBOS(t *testing.T) {
	p, err := New("{{ messages[0].content }}", "", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Encode(parsed(t), talk("user:!!!"), Options{})
	if err != nil || len(e.IDs) != 3 || e.IDs[0] != e.IDs[1] {
		t.Errorf("%v, %v", e.IDs, err)
	}
	if _, err := p.Encode(parsed(t), nil, Options{}); err == nil || !strings.Contains(err.Error(), "the conversation is empty") {
		t.Errorf("no messages: %v", err)
	}
}

// TestTemplateErrors say which of the two templates, or which file, it is.
func TestTemplateErrors(t *testing.T) {
	for want, of := range map[string][2]string{"parse chat template: template line 1": {"{{", ""}, "parse chat template tool_use: template line 1": {"x", "{{"}} {
		if _, err := New(of[0], of[1], Tokens{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", of, err, want)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tokenizer_config.json"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, Tokens{}); err == nil || errors.Is(err, ErrNoTemplate) || !strings.HasPrefix(err.Error(), "read chat template: ") {
		t.Errorf("a configuration that is a folder: %v", err)
	}
	if _, err := Builtin("x", Tokens{}); err == nil || !strings.HasPrefix(err.Error(), `chat template "x" is unknown; use chatml, deepseek-r1, `) || !strings.HasSuffix(err.Error(), ", or a file") {
		t.Errorf("%v", err)
	}
}

// TestSave: a template for tools has a file of its own, which is there only with one; what cannot be written is told.
func TestSave(t *testing.T) {
	one, err := New("plain", "", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	both, err := New("plain", "tools", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := one.Save(dir); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != "chat_template.jinja" {
		t.Errorf("a template for all is saved as %v, %v", entries, err)
	}
	if err := one.Save(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there is written to")
	}
	if err := os.WriteFile(filepath.Join(dir, "additional_chat_templates"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := both.Save(dir); err == nil || !strings.HasPrefix(err.Error(), "save chat template: ") {
		t.Errorf("a file in place of a folder: %v", err)
	}
	dir = t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(toolTemplate)), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := both.Save(dir); err == nil {
		t.Error("a folder in place of a file is no error")
	}
	if one.Key() == both.Key() || one.Key() == (&Template{source: "plain", tokens: Tokens{BOS: "x"}}).Key() {
		t.Errorf("templates of one key: %s", one.Key())
	}
}
