"""What the reference makes of small whole tokenizer.json files in which one part meets another, for tokenizer/testdata/whole.json.

Run:  python tokenizer_whole.py        Versions: tokenizers 0.23.3.
"""
import json, os

from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
CHARS = ["<unk>"] + list("▁abcdexyzijĠ天 \n\u0301é#WORDord")
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
REPLACE = lambda pattern, content: {"type": "Replace", "pattern": pattern, "content": content}
SEQUENCE = lambda key, *parts: {"type": "Sequence", key: list(parts)}
SPLIT = lambda pattern, behavior: {"type": "Split", "pattern": {"String": pattern}, "behavior": behavior, "invert": False}
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


def file(chars=CHARS, added=(), normalizer=None, pre=None, post=None, decoder=None, **model):
    vocab = {c: i for i, c in enumerate(dict.fromkeys(chars))}
    tokens = [{"id": len(vocab) + i, "content": a[0], "single_word": False, "lstrip": "l" in a[1], "rstrip": "r" in a[1], "normalized": "n" in a[1], "special": "s" in a[1]} for i, a in enumerate(added)]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer, "pre_tokenizer": pre, "post_processor": post, "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": []} | model}


def cases():
    # prepend_scheme first asks where in the input a piece's first character is from
    texts = ["ab", " ab", "\nab", "ba", "bac", "b", "", "\u0301a", "天a", "  a  ", "éa", "ijab", "ab<s>ab", "<s> ab"]
    for name, n in {"strip": {"type": "Strip", "strip_left": True, "strip_right": False}, "accents": {"type": "StripAccents"}, "bert": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": True, "lowercase": False},
                    "remove": REPLACE({"String": "b"}, ""), "two for one": REPLACE({"String": "ba"}, "x"), "one for two": REPLACE({"String": "a"}, "xy"), "expression": REPLACE({"Regex": "^.."}, "xyz"), "nfd": {"type": "NFD"}, "bytes": {"type": "ByteLevel"}, "nmt": {"type": "Nmt"},
                    "strip, prepend": SEQUENCE("normalizers", {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Prepend", "prepend": "x"})}.items():
        yield "first after " + name, file(CHARS + ["Ã", "©", "å", "¤", "Ċ"], [("<s>", "s")], normalizer=n, pre=METASPACE), texts, []
    for name, p in {"white space": {"type": "WhitespaceSplit"}, "split": SPLIT("x", "Isolated"), "removed": SPLIT("x", "Removed"), "rewritten": SEQUENCE("pretokenizers", {"type": "WhitespaceSplit"}, LEVEL), "characters": {"type": "FixedLength", "length": 1}}.items():
        yield "first after cutting at " + name, file(CHARS + ["Ã", "©", "å", "¤", "Ċ"], [("<s>", "s")], normalizer={"type": "Prepend", "prepend": "xy"}, pre=SEQUENCE("pretokenizers", p, METASPACE)), texts, []
        yield "first of the text after cutting at " + name, file(CHARS, pre=SEQUENCE("pretokenizers", p, METASPACE)), texts, []
    # more marks on a character than the Stream-Safe Text Format has
    runs = ["e" + "\u0301\u0323\u0345" * 12 + "x", "\u0316" * 31 + "\u0334a", "a\u0328" + "\u0301" * 40 + "\u0323b", "\u0344" * 20 + "\u0323", "\u1112" * 35 + "\u1161\u11ab" + "\u0323" * 33 + "\u0334", "x" + "\u0315" * 30 + "\u0300", "ﬁ" + "\u0315" * 32 + "\u0300ﬁ" + "\u0327" * 3 + "\u0327\u0301" * 30 + "c\u0327"]
    alphabet = sorted(set("".join(chr(0x100 + b) for b in range(68)) + "".join(chr(b) for b in list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256)))))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        yield form, file(alphabet, normalizer={"type": form}, pre=LEVEL), runs, []
    # a token may begin in the white space that the one before it takes
    for flags in ("", "l", "r", "lr", "n", "ln", "rn", "lrn"):
        yield "white space taken twice, " + flags, file(list("▁abcdexyz >"), [("<s>", "r"), ("  ", flags), (" <x>", flags), ("\n", flags), ("<e>", "rn")]), ["<s>  a", "<s>   a", "<s> <x>", "<s> \n a", "  \n    a", "<s>\n<x> <x>", "<e>  a", "<e> <x>\n", " <x>   <x>", "<s>"], []
    # a byte without a token, where characters may be unknown or spelled by bytes
    some = list("abĠĊÃ") + ["<unk>"]
    for name, m in {"unk": {"unk_token": "<unk>"}, "fused unk": {"unk_token": "<unk>", "fuse_unk": True}, "fallback": {"byte_fallback": True}, "fallback, unk": {"byte_fallback": True, "unk_token": "<unk>"}, "neither": {}}.items():
        yield "missing bytes, " + name, file(some + ["<0xC2>", "<0xA9>", "<0x21>"], pre=LEVEL, decoder=LEVEL, **m), ["ab c", "é", "a\nb!", "!!cc", "天a"], [[0, 1, 2, 3]]
    # an expression that matches nothing between two characters keeps them apart
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield "empty matches, " + behavior + ", inverted" * invert, file(["ab", "bc", "cd"] + CHARS, pre={"type": "Split", "pattern": {"Regex": "(?=b)|d*"}, "behavior": behavior, "invert": invert}, continuing_subword_prefix="#", unk_token="<unk>"), ["abcd", "aabb", "dd", "cdab", "d"], []
    # decoders
    lists = [[1, 2, 3], [2, 2, 12], [12, 1, 12, 12], [15, 2, 1], [1], [], [21, 22, 23], [25, 26, 2]]
    for name, d in {"nothing": SEQUENCE("decoders"), "no decoder": None, "bytes, ctc": SEQUENCE("decoders", LEVEL, {"type": "CTC", "pad_token": "a", "word_delimiter_token": "|", "cleanup": False}),
                    "bytes, strip": SEQUENCE("decoders", LEVEL, {"type": "Strip", "content": "b", "start": 1, "stop": 1}), "bytes, word pieces": SEQUENCE("decoders", LEVEL, {"type": "WordPiece", "prefix": "#", "cleanup": True}),
                    "bytes, replace": SEQUENCE("decoders", LEVEL, REPLACE({"String": "ab"}, "x")), "bytes": LEVEL, "replace, bytes": SEQUENCE("decoders", REPLACE({"String": "▁"}, "x"), LEVEL)}.items():
        yield "decoder: " + name, file(added=[("WORD", "n"), ("OR", "")], normalizer={"type": "Lowercase"}, decoder=d), [], lists


out = []
for name, f, texts, lists in cases():
    t = Tokenizer.from_str(json.dumps(f))
    def run(call):
        try:
            return call()
        except BaseException:  # the reference panics
            return None
    out.append({"name": name, "tokenizer": f, "texts": texts, "ids": [run(lambda: t.encode(x, add_special_tokens=False).ids) for x in texts],
                "lists": lists, "decoded": [run(lambda: t.decode(l, skip_special_tokens=False)) for l in lists]})
with open(HERE + "/../../tokenizer/testdata/whole.json", "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in out) + "\n]\n")
