"""Random texts through the reference library's components, added tokens with every combination of flags, and its trainer on random corpora,
for tokenizer/testdata/random.json.gz. Texts mix scripts, marks, joined emoji, line ends, control characters and what looks like tokens.

Run:  python tokenizer_random.py        Versions: tokenizers 0.23.3, as tokenizer_parts.py, whose list of components this takes.
"""
import gzip, itertools, json, os, random

HERE = os.path.dirname(os.path.abspath(__file__))
parts = {"__file__": HERE + "/tokenizer_parts.py"}
exec(compile(open(HERE + "/tokenizer_parts.py").read().split('\nif sys.argv[1:2] == ["check"]')[0], "tokenizer_parts.py", "exec"), parts)

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

POOL = list("aAbBzZ09 _-.,!?'\"()[]<>|/\\#*+") + [" ", "  ", "\n", "\r\n", "\t", "\r", "\x0b", "\x00", "\x01", "\x1c", "\x7f", "\x85", "\u00a0", "\u00ad", "\u2003", "\u200b", "\u200c", "\u200d", "\u2028", "\u3000", "\ufeff", "\ufffd",
    "é", "e\u0301", "ß", "İ", "ǅ", "ﬁ", "Σ", "ς", "Ж", "й", "и\u0306", "א", "ع", "لا", "\u064b", "नि", "\u094d", "க", "ก", "น้ำ", "天", "日本", "カ", "ｶ", "ﾞ", "が", "か\u3099", "한", "ᄒ", "ᅡ", "ᆫ", "𝒜", "𠀀", "½", "²", "٣", "Ⅳ", "①", "Ⓐ", "㍿", "👍🏽",
    "👨\u200d👩\u200d👧", "🇩🇪", "❤️", "▁", "Ġ", "##", "</w>", "'s", "'LL", "don't", "word", "the", "ing", "\u0345", "\u20dd", "\u0600", "\u06dd", "\U000110bd", "\ue000"]
TOKENS = ["<s>", "word", "Tool Box", "й", "<X>", "##", "天"]


def text(r, pool, most):
    return "".join(r.choice(pool) for _ in range(r.randrange(most)))


def components():
    """The parts of tokenizer_parts.py on other texts: [kind, part, texts, results]; a charsmap is spelled NMT_NFKC."""
    r = random.Random(11)
    parts["TEXTS"][:] = [""] + [text(r, POOL, most) for most in (3, 5, 8, 12) for _ in range(20)]
    out = [c for c in parts["parts"]() if c["kind"] != "decoder"]
    tokens = ["▁", "▁the", "a", "##b", "##", "c</w>", "</w>", "<0xE5>", "<0xA4>", "<0xA9>", "<0x41>", "<0xzz>", "Ġ", "Ã", "©", "天", " ", "  x ", ".", " .", "do", " not", "n't", "'s", " ' ", "<pad>", "|", "h"]
    lists = [[r.choice(tokens) for _ in range(r.randrange(1, 9))] for _ in range(40)]
    d = decoders
    for x in [d.ByteLevel(), d.Metaspace(), d.Metaspace(prepend_scheme="never"), d.ByteFallback(), d.Fuse(), d.Strip("a", 1, 1), d.Replace("▁", " "), d.WordPiece(), d.WordPiece(prefix="▁", cleanup=False), d.BPEDecoder(), d.CTC(), d.CTC(cleanup=False),
              d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]), d.Sequence([d.Fuse(), d.Replace("the", "a"), d.Strip("h", 0, 2)])]:
        def run(tokens):
            try:
                return x.decode(tokens)
            except BaseException:  # the reference panics where a token is shorter than what is to be stripped
                return None
        out.append({"kind": "decoder", "part": parts["part"](x), "in": lists, "out": [run(l) for l in lists]})
    return out


def added():
    """One token with each combination of flags, and several at once, in four tokenizers: ids with and without special tokens, and the text."""
    r, out = random.Random(12), []
    vocab = {c: i for i, c in enumerate(["<unk>", "a", "b", "word", "tool", "box", "x", "й", "天", "▁", "<", ">", "s", "w", "o", "r", "d"])}
    bytes_ = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    pieces = [(c, -float(i)) for c, i in vocab.items()]
    kinds = {
        "words": lambda: (models.WordLevel(vocab, unk_token="<unk>"), normalizers.Lowercase(), pre_tokenizers.Whitespace(), None),
        "bytes": lambda: (models.BPE(bytes_, []), normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()),
        "pieces": lambda: (models.Unigram(pieces, unk_id=0), normalizers.NFKC(), pre_tokenizers.Metaspace(), decoders.Metaspace()),
        "chars": lambda: (models.BPE(vocab, [], unk_token="<unk>", fuse_unk=True), normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, decoders.Fuse()),
    }
    pool = ["a", "b", " ", "  ", "\n", "\u00a0", "_", ".", "x", "A", "天", "и\u0306", "\u200d", "①", "Ⓐ", "<", "WORD", "<S>"] + TOKENS * 2
    for name, make in kinds.items():
        for flags in itertools.product([False, True], repeat=5):
            model, normalizer, pre, decoder = make()
            t = Tokenizer(model)
            t.normalizer = normalizer
            if pre:
                t.pre_tokenizer = pre
            if decoder:
                t.decoder = decoder
            lstrip, rstrip, single, normalized, special = flags
            token = lambda c: AddedToken(c, lstrip=lstrip, rstrip=rstrip, single_word=single, normalized=normalized, special=special)
            chosen = r.sample(TOKENS, r.randrange(1, 5))
            for c in chosen:
                (t.add_special_tokens if special else t.add_tokens)([token(c)])
            other = r.choice([c for c in TOKENS if c not in chosen])
            t.add_special_tokens([AddedToken(other, normalized=False)])
            texts, results = [text(r, pool, 9) for _ in range(12)], []
            for x in texts:
                t.encode_special_tokens = True
                plain = t.encode(x, add_special_tokens=False).ids
                t.encode_special_tokens = False
                ids = t.encode(x, add_special_tokens=False).ids
                results.append([plain, ids, t.decode(ids, skip_special_tokens=True)])
            out.append({"name": name + " " + ",".join(n for n, f in zip(["lstrip", "rstrip", "single_word", "normalized", "special"], flags) if f), "tokenizer": json.loads(t.to_str()), "texts": texts, "results": results})
    return out


def trained():
    """The byte-level BPE trainer on small random corpora: few letters, so that pairs tie and tokens are made twice."""
    r, out = random.Random(13), []
    for i in range(24):
        letters = ["ab", "abc ", "aé天 ", "a b\n", "aab\u0301'"][i % 5]
        docs = [text(r, letters, 60) for _ in range(r.randrange(1, 6))] + ["aba"]
        size, least, special = 256 + r.choice([3, 12, 40]), r.choice([0, 2, 3]), ["<s>", "</s>"][: r.randrange(3)]
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.train_from_iterator(docs, trainers.BpeTrainer(vocab_size=size, min_frequency=least, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
        merges = json.loads(t.to_str())["model"]["merges"]
        out.append({"docs": docs, "vocab_size": size, "min_frequency": least, "special": special, "merges": merges, "size": t.get_vocab_size()})
    return out


raw = json.dumps({"parts": components(), "added": added(), "trained": trained()}, ensure_ascii=False, separators=(",", ":")).encode()
charsmap = parts["base64"].b64encode(parts["charsmap_of"](parts["sp_model"]("unigram", {})))
with open(HERE + "/../../tokenizer/testdata/random.json.gz", "wb") as f:
    with gzip.GzipFile(filename="", mode="wb", fileobj=f, mtime=0) as z:
        z.write(raw.replace(charsmap, b"NMT_NFKC"))
print(len(raw))
