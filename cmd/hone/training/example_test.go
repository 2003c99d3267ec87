package training

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/recipe/lm"
)

// TestExamplesFitTheModel: answers that the help and the pages ask for leave room for a prompt in a model that hone pretrain makes by its defaults, as
// those before them do. The commands were refused when they left max_completion_length out.
func TestExamplesFitTheModel(t *testing.T) {
	texts := map[string]string{"hone ppo": PPO(&cli.App{}).Example, "hone grpo": GRPO(&cli.App{}).Example}
	for _, page := range []string{"README.md", "docs/rlhf.md", "docs/plan.md"} {
		text, err := os.ReadFile("../../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		texts[page] = string(text)
	}
	command, length := regexp.MustCompile(`(?m)^ *hone (ppo|grpo) .*$`), regexp.MustCompile(`max_completion_length=(\d+)`)
	for where, text := range texts {
		commands := command.FindAllString(text, -1)
		if len(commands) == 0 {
			t.Errorf("%s has no such command", where)
		}
		for _, c := range commands {
			m := length.FindStringSubmatch(c)
			if m == nil {
				t.Errorf("%s: %s: max_completion_length is missing", where, strings.TrimSpace(c))
			} else if n, _ := strconv.Atoi(m[1]); n >= lm.DefaultPretrain().SequenceLength {
				t.Errorf("%s: %s: the model reads %d tokens", where, strings.TrimSpace(c), lm.DefaultPretrain().SequenceLength)
			}
		}
	}
}
