package document

import (
	"fmt"
	"testing"

	"hone/data/curate/curatetest"
)

func TestTalkReadsEveryFormat(t *testing.T) {
	message := func(role, content string) map[string]string {
		return map[string]string{"role": role, "content": content}
	}
	for _, r := range []string{
		curatetest.Record(map[string]any{"messages": []any{message("system", "be kind"), message("user", "ask"), message("assistant", "answer")}}),
		curatetest.Record(map[string]any{"prompt": "ask", "completion": "answer"}),
		curatetest.Record(map[string]any{"instruction": "ask", "output": "answer"}),
		curatetest.Record(map[string]any{"conversations": []any{map[string]string{"from": "human", "value": "ask"}, map[string]string{"from": "gpt", "value": "answer"}}}),
		`{"messages":[{"role":"user","content":[{"type":"text","text":"ask"}]},{"role":"assistant","content":[{"type":"text","text":"answer"}]}]}`,
		`{"prompt":"ask","completion":"answer","chosen":null,"rejected":null}`,
	} {
		got := ParseTalk([]byte(r))
		if got.Problem != "" || got.Prompt != "ask" || fmt.Sprint(got.Answers) != "[answer]" || got.Rejected {
			t.Errorf("%s: %+v", r, got)
		}
	}
	for _, r := range []string{
		curatetest.Record(map[string]any{"prompt": "ask", "chosen": "good", "rejected": "bad"}),
		curatetest.Record(map[string]any{"chosen": []any{message("user", "ask"), message("assistant", "good")}, "rejected": []any{message("user", "ask"), message("assistant", "bad")}}),
	} {
		got := ParseTalk([]byte(r))
		if got.Problem != "" || got.Prompt != "ask" || fmt.Sprint(got.Answers) != "[good bad]" || !got.Rejected {
			t.Errorf("%s: %+v", r, got)
		}
	}
	turns := ParseTalk([]byte(curatetest.Record(map[string]any{"messages": []any{message("user", "one"), message("assistant", "a"), message("user", "two"), message("assistant", "b")}})))
	if turns.Prompt != "one\ntwo" || fmt.Sprint(turns.Answers) != "[a b]" {
		t.Errorf("%+v", turns)
	}
}
