"""Makes the golden files of tokenizer.json's components and models, and of SentencePiece models, with the reference libraries.

    python -m venv /tmp/ref && /tmp/ref/bin/pip install tokenizers==0.23.3 sentencepiece==0.2.1
    /tmp/ref/bin/python testdata/gen/tokenizer_parts.py     # tokenizer/testdata/{parts,models,sentencepiece}.json.gz
    /tmp/ref/bin/python testdata/gen/tokenizer_parts.py check DIR [NAME ...]

check compares the ids that TestReferenceModels wrote to DIR with the reference's, and the speeds, both on one core.
"""
import array, base64, gzip, json, os, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
src = open(HERE + "/tokenizer.py").read().rsplit("\n{", 1)[0]
gen = {"__file__": HERE + "/tokenizer.py"}
exec(compile(src, "tokenizer.py", "exec"), gen)

import sentencepiece as spm
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders as d, models, normalizers as n, pre_tokenizers as p, processors, trainers

OUT = HERE + "/../../tokenizer/testdata/"
CORPUS = gen["corpus"]()
QWEN2 = gen["LLAMA3"].replace(r"\p{N}{1,3}", r"\p{N}")
O200K = "|".join([r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                  r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                  r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def newer(s):  # characters that Go's Unicode version does not know, and the long s, which the engines fold differently
    return any(c in "\u1c89\ua7cb\U00010d40\U000105c0\ufffe\U0010ffff\U00011f04\u017f\U0001e900" for c in s)


TEXTS = [t for t in gen["torture"]() if not newer(t)]
TEXTS = TEXTS[:105] + TEXTS[105::4]
TEXTS += ["▁", "▁a ▁b", "a▁b▁▁c", " ▁ ", "Ａｂｃ ｱｲｳ", "ﬁ\u0301x ½\u0301 Å\u0301", "é\u0323 q\u0307\u0323", "한국어 \u1112\u1161\u11ab", "ΑΣ İstanbul ÇA", "x\u200dy 1\ufe0f\u20e3",
          "a\u0600b \u06dd1", "\u0e33 ก็ น้ำ", "नि क्षि", "\u00ad\u061c\u2060\ufffc", "don't do not isn't 's 've 're , . ! ?", "日本語とカタカナー混じり text 123", "\ufeffBOM", "a\u2028b\u2029c\u0085d",
          "e\u0301", "\u0041\u030a", "\u212b", "②③ ㍿ ㌔", "  two  spaces  ", "<s>x</s> <unk> [CLS]", "\r\n\u0301 a\r\n"]


def bytes_of(text, spans):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [[at[a], at[b]] for a, b in spans]


def part(x):
    return json.loads(x.__getstate__())


def parts():
    """Each component alone: {kind, part, in, out}."""
    out = []
    precompiled = n.Precompiled(charsmap_of(sp_model("unigram", {})))
    for x in [n.NFC(), n.NFD(), n.NFKC(), n.NFKD(), n.Lowercase(), n.StripAccents(), n.Strip(), n.Strip(left=True, right=False), n.Strip(left=False, right=True),
              n.Prepend("▁"), n.Prepend("ab"), n.ByteLevel(), n.Nmt(), n.BertNormalizer(), n.BertNormalizer(lowercase=False), n.BertNormalizer(clean_text=False, strip_accents=False),
              n.BertNormalizer(handle_chinese_chars=False, strip_accents=True, lowercase=False), n.Replace(" ", "▁"), n.Replace("ab", ""), n.Replace(Regex(" {2,}"), "▁"),
              n.Replace(Regex(r"\s+"), " "), n.Replace(Regex(r"(?<=a)b|\d+(?=x)"), "<>"), precompiled, n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase(), n.Sequence([n.Strip()])])]:
        out.append({"kind": "normalizer", "part": part(x), "in": TEXTS, "out": [x.normalize_str(t) for t in TEXTS]})
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    pre = [p.ByteLevel(), p.ByteLevel(add_prefix_space=False), p.ByteLevel(add_prefix_space=False, use_regex=False), p.Digits(), p.Digits(individual_digits=True), p.Whitespace(), p.WhitespaceSplit(),
           p.BertPreTokenizer(), p.CharDelimiterSplit("a"), p.UnicodeScripts(), p.FixedLength(), p.FixedLength(length=3)]
    pre += [p.Metaspace(prepend_scheme=s, split=k) for s in ("always", "first", "never") for k in (True, False)]
    pre += [p.Punctuation(b) for b in behaviors]
    pre += [p.Split(x, b, invert=i) for x in (" ", Regex(r"\s+"), Regex(r"\w+|[^\w\s]+")) for b in behaviors for i in (False, True)]
    pre += [p.Split("", "isolated"), p.Split("", "removed"), p.Split("", "removed", invert=True), p.Split(Regex(""), "contiguous")]
    pre += [p.Split(Regex(r), "isolated") for r in (gen["LLAMA3"], QWEN2, O200K, DEEPSEEK, r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", r" ?[^(\s|[.,!?…。，、।۔،])]+", r"[0-9][0-9][0-9]")]
    pre += [p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False)]), p.Sequence([p.Punctuation("contiguous"), p.ByteLevel(add_prefix_space=False), p.Digits(), p.Split(Regex("[0-9][0-9][0-9]"), "isolated")]),
            p.Sequence([p.WhitespaceSplit(), p.Metaspace()]), p.Sequence([p.Whitespace(), p.Metaspace(prepend_scheme="first"), p.ByteLevel(use_regex=False)])]
    for x in pre:
        out.append({"kind": "pre_tokenizer", "part": part(x), "in": TEXTS, "out": [[[s] + bytes_of(t, [o])[0] for s, o in x.pre_tokenize_str(t)] for t in TEXTS]})
    lists = [["▁Hello", "▁world", "!"], ["▁", "▁▁a", "b▁c"], ["<0xE5>", "<0xA4>", "<0xA9>", "a"], ["<0xE5>", "<0xA4>", "x", "<0xFF>", "<0x41>"], ["a", "##b", "c", ".", "do", "not", "'", "s", "##"], ["a</w>", "b", "c</w>"],
             ["h", "h", "<pad>", "e", "l", "l", "<pad>", "l", "o", "|", "|", "w"], ["Hello", "Ġworld", "Ã", "©", "<|x|>", "天"], ["  a ", " b", "  "], ["x"], [" ", " ", "b "], ["<0x41>", "<0xE5>"], ["<0x4g>", "<0xa9>", "<0xC3>", "<0xA9>"]]
    for x in [d.ByteLevel(), d.Metaspace(), d.Metaspace(prepend_scheme="never"), d.Metaspace(prepend_scheme="first"), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0), d.Replace("▁", " "), d.Replace(Regex("[a-c]+"), "_"), d.WordPiece(), d.WordPiece(cleanup=False),
              d.BPEDecoder(), d.CTC(), d.CTC(cleanup=False), d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]), d.Sequence([d.Fuse(), d.Replace("Hello", "Bye"), d.Strip("!", 0, 1)]), d.Sequence([d.ByteFallback(), d.Metaspace()])]:
        def run(l):
            try:
                return x.decode(l)
            except BaseException:  # the reference panics on short tokens
                return None
        out.append({"kind": "decoder", "part": part(x), "in": lists, "out": [run(l) for l in lists]})
    return out


def charsmap_of(model):
    sys.path.insert(0, HERE)
    import tokenizer_properties

    return tokenizer_properties.charsmap(model)


def sp_model(kind, options, vocab=400):
    folder = tempfile.mkdtemp()
    open(folder + "/text.txt", "w").write("\n".join(x for doc in CORPUS for x in doc.split("\n") if x))
    options = {"hard_vocab_limit": False} | options
    spm.SentencePieceTrainer.train(input=folder + "/text.txt", model_prefix=folder + "/m", vocab_size=vocab, model_type=kind, minloglevel=2, character_coverage=0.998, num_threads=1, **options)
    return open(folder + "/m.model", "rb").read()


def trained(model, trainer, normalizer=None, pre=None, decoder=None, post=None):
    t = Tokenizer(model)
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.train_from_iterator([x for doc in CORPUS for x in doc.split("\n")], trainer)
    if decoder:
        t.decoder = decoder
    if post:
        t.post_processor = post(t)
    return t


def edited(t, edit):
    j = json.loads(t.to_str())
    edit(j)
    return Tokenizer.from_str(json.dumps(j))


BYTES = [f"<0x{b:02X}>" for b in range(256)]


def llama(normalizer, pre, decoder, **model):
    """SentencePiece-style BPE: trained on words, byte tokens included."""
    t = trained(models.BPE(unk_token="<unk>", fuse_unk=True), trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False, limit_alphabet=90, min_frequency=3),
                None, p.Metaspace(prepend_scheme="always"), decoder)
    def edit(j):
        m = j["model"]
        m.update(model)
        if m["byte_fallback"]:
            for b in BYTES:
                m["vocab"][b] = len(m["vocab"])
        for run in ("▁▁", "▁▁▁▁"):
            if run not in m["vocab"]:
                m["vocab"][run] = len(m["vocab"])
                m["merges"].insert(0 if run == "▁▁" else 1, [run[: len(run) // 2]] * 2)
        j["normalizer"] = normalizer and part(normalizer)
        j["pre_tokenizer"] = pre and part(pre)
        j["post_processor"] = part(processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]))
    return edited(t, edit)


def cases():
    sp_decoder = d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])
    spaces = n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")])
    yield "llama2", llama(spaces, None, sp_decoder, byte_fallback=True)
    yield "llama2_unk", llama(spaces, None, sp_decoder, byte_fallback=False)
    yield "llama2_unk_apart", llama(spaces, None, sp_decoder, byte_fallback=False, fuse_unk=False)
    yield "mistral", llama(None, p.Metaspace(prepend_scheme="first", split=False), sp_decoder, byte_fallback=True)
    yield "gemma", llama(n.Replace(" ", "▁"), p.Split(" ", "merged_with_previous"), d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse()]), byte_fallback=True)
    yield "metaspace_bpe", llama(n.NFKC(), p.Metaspace(prepend_scheme="always"), d.Metaspace(), byte_fallback=False)
    def crossing(j):  # a merge that goes on across a space
        j["model"]["vocab"]["a▁"] = len(j["model"]["vocab"])
        j["model"]["merges"].insert(2, ["a", "▁"])
    yield "crossing", edited(llama(spaces, None, sp_decoder, byte_fallback=True), crossing)
    yield "ignore_merges", llama(spaces, None, sp_decoder, byte_fallback=True, ignore_merges=True)
    bpe = lambda **k: trainers.BpeTrainer(vocab_size=600, show_progress=False, limit_alphabet=80, special_tokens=["<unk>"], **k)
    yield "suffix", trained(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), bpe(end_of_word_suffix="</w>"), n.Sequence([n.NFC(), n.Lowercase()]), p.Whitespace(), d.BPEDecoder())
    yield "prefix", trained(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"), bpe(continuing_subword_prefix="##"), None, p.BertPreTokenizer(), d.WordPiece())
    byte = lambda **k: trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=p.ByteLevel.alphabet(), special_tokens=["<s>", "</s>"], **k)
    roberta = lambda t: processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=False)
    split = lambda r: p.Sequence([p.Split(Regex(r), "isolated"), p.ByteLevel(add_prefix_space=False, use_regex=False)])
    yield "roberta", trained(models.BPE(), byte(), None, p.ByteLevel(add_prefix_space=True), d.ByteLevel(), roberta)
    yield "qwen2", trained(models.BPE(), byte(), n.NFC(), split(QWEN2), d.ByteLevel())
    yield "o200k", trained(models.BPE(), byte(), None, split(O200K), d.ByteLevel(), lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])]))
    yield "smollm", trained(models.BPE(), byte(), None, p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False)]), d.ByteLevel())
    yield "falcon", trained(models.BPE(), byte(), None, p.Sequence([p.Punctuation("contiguous"), p.ByteLevel(add_prefix_space=False), p.Digits(), p.Split(Regex("[0-9][0-9][0-9]"), "isolated")]), d.ByteLevel())
    yield "byte_normalizer", trained(models.BPE(), byte(), n.ByteLevel(), p.Split(Regex("Ġ"), "merged_with_next"), d.ByteLevel())
    uni = lambda **k: trainers.UnigramTrainer(vocab_size=400, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"], **k)
    precompiled = n.Precompiled(charsmap_of(sp_model("unigram", {})))
    template = lambda t: processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", t.token_to_id("</s>"))])
    t5 = trained(models.Unigram(), uni(), precompiled, p.Metaspace(), d.Metaspace(), template)
    yield "t5", t5
    yield "xlmr", trained(models.Unigram(), uni(), n.Sequence([precompiled, n.Replace(Regex(" {2,}"), " ")]), p.Sequence([p.WhitespaceSplit(), p.Metaspace()]), d.Metaspace(), template)
    def fallback(j):
        j["model"]["vocab"] = [v for v in j["model"]["vocab"] if ord(v[0][0]) < 0x250 or v[0][0] == "▁"] + [[b, -20.0] for b in BYTES]
        j["model"]["byte_fallback"] = True
        j["decoder"] = part(sp_decoder)
    yield "unigram_fallback", edited(t5, fallback)
    def whole(j):
        j["normalizer"], j["pre_tokenizer"] = part(spaces), None
    yield "unigram_whole", edited(t5, whole)
    wp = lambda: trainers.WordPieceTrainer(vocab_size=600, show_progress=False, limit_alphabet=90, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    bert = lambda t: processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    yield "bert", trained(models.WordPiece(unk_token="[UNK]"), wp(), n.BertNormalizer(), p.BertPreTokenizer(), d.WordPiece(), bert)
    yield "bert_cased", trained(models.WordPiece(unk_token="[UNK]"), wp(), n.BertNormalizer(lowercase=False), p.BertPreTokenizer(), d.WordPiece(cleanup=False), bert)
    yield "wordlevel", trained(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=300, show_progress=False, special_tokens=["<unk>"]), n.NFKC(), p.Whitespace())


def add_tokens(t, kind):
    t.add_tokens([AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=False), AddedToken("word", single_word=True), AddedToken("Tool Box", normalized=True)])
    t.add_special_tokens([AddedToken("<|im_start|>"), AddedToken("<|im_end|>", normalized=True, special=True)])


def result(t, text):
    t.encode_special_tokens = True
    plain = t.encode(text, add_special_tokens=False)
    t.encode_special_tokens = False
    special = t.encode(text, add_special_tokens=True)
    return {"ids": plain.ids, "spans": bytes_of(text, plain.offsets), "special": special.ids, "special_spans": bytes_of(text, special.offsets),
            "text": t.decode(special.ids, skip_special_tokens=False), "plain": t.decode(special.ids, skip_special_tokens=True)}


ADDED = gen["ADDED"] + ["a Tool Box b", "Tool Boxes tool box", "ToolBox  Tool Box", " <|im_start|>user\nx <|im_end|> y<|im_end|>"]


def model_cases():
    out = []
    for name, t in cases():
        add_tokens(t, name)
        texts = TEXTS + ADDED
        out.append({"name": name, "tokenizer": t.to_str(), "texts": texts, "results": [result(t, x) for x in texts]})
        print(name, t.get_vocab_size())
    return out


def sentencepiece_cases():
    out = []
    for name, kind, options in [("bpe", "bpe", {"normalization_rule_name": "identity"}), ("llama", "bpe", {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False, "split_digits": True, "allow_whitespace_only_pieces": True, "vocab_size": 800}),
                                ("unigram", "unigram", {}), ("unigram_bytes", "unigram", {"byte_fallback": True, "vocab_size": 700, "normalization_rule_name": "identity"}), ("symbols", "bpe", {"user_defined_symbols": ["<tool>", "word"], "control_symbols": ["<ctl>"], "pad_id": 3, "normalization_rule_name": "identity"}),
                                ("no_prefix", "unigram", {"add_dummy_prefix": False, "normalization_rule_name": "identity"}), ("nfkc_cf", "bpe", {"normalization_rule_name": "nfkc_cf"})]:
        options = dict(options)
        model = sp_model(kind, options, options.pop("vocab_size", 400))
        sp = spm.SentencePieceProcessor(model_proto=model)
        texts = [t for t in TEXTS + gen["ADDED"] if "\0" not in t]
        out.append({"name": name, "model": base64.b64encode(model).decode(), "texts": texts, "ids": [sp.encode(t) for t in texts], "decoded": [sp.decode(sp.encode(t)) for t in texts], "bos": sp.bos_id(), "eos": sp.eos_id(), "size": sp.vocab_size()})
    return out


def write(name, data):
    raw = json.dumps({"made_with": f"tokenizers {tokenizers.__version__}, sentencepiece {spm.__version__}", "cases": data}, ensure_ascii=False, separators=(",", ":")).encode()
    # The charsmap is large; the tests take it from the SentencePiece model "unigram".
    with open(OUT + name, "wb") as f:
        with gzip.GzipFile(filename="", mode="wb", fileobj=f, mtime=0) as g:
            g.write(raw.replace(base64.b64encode(charsmap_of(sp_model("unigram", {}))), b"NMT_NFKC"))


def check(folder, names):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    docs, wrong = gen["read_docs"](folder + "/docs.bin"), 0
    for name in names or sorted(f[:-4] for f in os.listdir(folder) if f.endswith(".ids")):
        t = Tokenizer.from_file(f"{folder}/{name}.json")
        t.encode_special_tokens = True
        raw, at, bad, size, took = open(f"{folder}/{name}.ids", "rb").read(), 0, 0, 0, 0.0
        for doc in docs:
            n = int.from_bytes(raw[at : at + 4], "little")
            ours = array.array("i", raw[at + 4 : at + 4 + 4 * n])
            at += 4 + 4 * n
            try:
                text = doc.decode()
            except UnicodeDecodeError:
                continue
            start = time.perf_counter()
            theirs = t.encode(text, add_special_tokens=False)
            took += time.perf_counter() - start
            size += len(doc)
            bad += theirs.ids != ours.tolist()
        wrong += bad
        speed, mine = size / 1e6 / took, float(open(f"{folder}/{name}.speed").read())
        print(f"{name}: {len(docs)} documents, {size / 1e6:.1f} MB, {bad} differ; hone {mine:.1f} MB/s, reference {speed:.2f} MB/s, ratio {mine / speed:.1f}", flush=True)
    sys.exit(wrong > 0)


if sys.argv[1:2] == ["check"]:
    check(sys.argv[2], sys.argv[3:])
write("parts.json.gz", parts())
write("models.json.gz", model_cases())
write("sentencepiece.json.gz", sentencepiece_cases())
