"""Conversations rendered by the reference implementation, for chat/testdata/golden.json.

Run:  python chat.py [--templates DIR --out FILE]
Versions: transformers 5.24.0, jinja2 3.1.6.

Without arguments it renders hone's own templates (chat/builtin/*.jinja) and chat/testdata/*.jinja. With --templates it renders those of
another folder, such as templates downloaded with models; HONE_CHAT_GOLDEN=FILE go test ./chat then compares hone with them.
Each case holds the template's name, the messages, the options and what came out: text, or an error.
"""
import argparse, datetime, glob, json, os
import transformers
from transformers.utils import chat_template_utils as u

assert transformers.__version__ == "5.24.0", transformers.__version__


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 14, 5, 9)


u.datetime = Clock

SYSTEM = {"role": "system", "content": "You are terse."}
USER = {"role": "user", "content": "Hello, how are you?"}
ANSWER = {"role": "assistant", "content": "I'm doing great. How can I help?"}
USER2 = {"role": "user", "content": "Show me <b>\"quotes\"</b> & ünïcödé 🙂\n"}
ANSWER2 = {"role": "assistant", "content": " \nHere:\n\n```go\nfmt.Println(\"hi\")\n```\n"}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather at a place, in °C",
     "parameters": {"type": "object", "properties": {
         "place": {"type": "string", "description": "City, \"Country\""},
         "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
         "days": {"type": "integer", "default": 3, "minimum": 1.5}}, "required": ["place"]},
     "return": {"type": "number", "description": "degrees"}}},
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}},
]
CALL = {"role": "assistant", "tool_calls": [{"id": "abcdef123", "type": "function",
        "function": {"name": "get_weather", "arguments": {"place": "Paris, France", "days": 2, "exact": True, "none": None, "x": 1.5e-7}}}]}
CALL_TEXT = dict(CALL, content="")
RESULT = {"role": "tool", "tool_call_id": "abcdef123", "name": "get_weather", "content": "22.5"}
RESULT_OBJECT = dict(RESULT, content={"temperature": 22.5, "ok": True})
THINK = {"role": "assistant", "content": "<think>\nHmm, 17*3 = 51.\n</think>\n\n51"}
REASON = {"role": "assistant", "reasoning_content": "It is 51.", "content": "51"}
BLOCKS = {"role": "user", "content": [{"type": "text", "text": "First. "}, {"type": "text", "text": "Second."}]}

CONVERSATIONS = {
    "one": [USER],
    "answered": [USER, ANSWER],
    "turns": [USER, ANSWER, USER2],
    "long": [USER, ANSWER, USER2, ANSWER2, USER, ANSWER],
    "system": [SYSTEM, USER, ANSWER, USER2, ANSWER2],
    "system_only_user": [SYSTEM, USER],
    "call": [USER, CALL],
    "tools": [SYSTEM, USER, CALL, RESULT, ANSWER],
    "tools_text": [USER, CALL_TEXT, RESULT, ANSWER, USER2, CALL_TEXT, RESULT],
    "tools_object": [USER, CALL_TEXT, RESULT_OBJECT],
    "think": [USER, THINK, USER2, THINK],
    "reason": [SYSTEM, USER, REASON, USER2, REASON],
    "reason_tools": [USER, dict(CALL_TEXT, reasoning_content="Need the weather."), RESULT, REASON],
    "blocks": [BLOCKS, ANSWER, BLOCKS],
    "empty": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}, USER],
    "wrong_order": [USER, USER, ANSWER],
}
OPTIONS = [
    {},
    {"add_generation_prompt": True},
    {"tools": TOOLS, "add_generation_prompt": True},
    {"tools": TOOLS},
    {"vars": {"enable_thinking": False}, "add_generation_prompt": True},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def render(template, messages, opt):
    messages = [{k: v for k, v in m.items() if v is not None} for m in json.loads(json.dumps(messages))]
    kw = dict(TOKENS, **opt.get("vars", {}))
    try:
        text, spans = u.render_jinja_template(
            [messages], tools=opt.get("tools"), chat_template=template, add_generation_prompt=opt.get("add_generation_prompt", False), **kw)
        out = {"text": text[0]}
        if "endgeneration" in template:
            _, spans = u.render_jinja_template([messages], tools=opt.get("tools"), chat_template=template, return_assistant_tokens_mask=True,
                                               add_generation_prompt=opt.get("add_generation_prompt", False), **kw)
            b = [len(text[0][:i].encode()) for i in range(len(text[0]) + 1)]
            out["generation"] = [[b[i], b[j]] for i, j in spans[0]]
        return out
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"[:200]}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser()
    p.add_argument("--templates")
    p.add_argument("--out", default=os.path.join(here, "../../chat/testdata/golden.json"))
    a = p.parse_args()
    if a.templates:
        files = sorted(glob.glob(a.templates + "/*.jinja"))
    else:
        files = sorted(glob.glob(os.path.join(here, "../../chat/builtin/*.jinja")) + glob.glob(os.path.join(here, "../../chat/testdata/*.jinja")))
    cases, templates = [], {}
    for f in files:
        name = os.path.basename(f)[:-6]
        templates[name] = open(f, newline="").read()
        for conv, messages in CONVERSATIONS.items():
            for opt in OPTIONS:
                if opt.get("tools") and not ("tool" in conv or conv in ("one", "call", "system")):
                    continue
                if "enable_thinking" in opt.get("vars", {}) and "enable_thinking" not in templates[name]:
                    continue
                cases.append({"template": name, "conversation": conv, "options": opt, **render(templates[name], messages, opt)})
    doc = {"conversations": CONVERSATIONS, "tokens": TOKENS, "cases": cases}
    if a.templates:
        doc["templates"] = templates
    with open(a.out, "w") as out:
        json.dump(doc, out, ensure_ascii=False, indent=None if a.templates else 1)
    print(len(cases), "cases,", sum("error" in c for c in cases), "of them errors")


main()
