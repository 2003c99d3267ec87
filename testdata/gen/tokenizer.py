"""Makes the tokenizer's golden files and its table of character classes with the reference library.

    python -m venv /tmp/ref && /tmp/ref/bin/pip install tokenizers==0.23.3 transformers==5.23.0
    /tmp/ref/bin/python testdata/gen/tokenizer.py golden     # tokenizer/testdata/
    /tmp/ref/bin/python testdata/gen/tokenizer.py classes    # internal/bytepair/classes_table.go
    /tmp/ref/bin/python testdata/gen/tokenizer.py check DIR DOCS IDS
    /tmp/ref/bin/python testdata/gen/tokenizer.py train DIR DOCS

check loads the tokenizer that hone saved in DIR (through transformers too) and compares ids, train trains the reference on the same
documents and compares vocabulary and merges. DOCS and IDS are the files that TestReferenceFiles writes: for each document
its length as a little-endian uint32, then its bytes; for each document its number of ids, then the ids as int32.
"""
import array, json, os, random, struct, sys, time

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "../../tokenizer")
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
EOT = "<|endoftext|>"

SENTENCES = """The tokenizer cuts text into words and the words into pieces, and it's the same each time.
We'll see whether they've learned what I'd call a vocabulary; that's all there is to it, isn't it?
func (t *Tokenizer) Encode(dst []int32, text []byte) []int32 { return append(dst, t.merge(text)...) }
\tif err != nil {\n\t\treturn nil, fmt.Errorf("read %s: %w", path, err)\n\t}
for i := 0; i < len(words); i++ { total += counts[i] * 1024 }
Le cœur a ses raisons que la raison ne connaît point. Über den Wolken muß die Freiheit grenzenlos sein.
В начале было слово, и слово было у начала всех слов. Ο λόγος ήταν στην αρχή.
天地玄黃,宇宙洪荒。日月盈昃,辰宿列張。寒來暑往,秋收冬藏。
いろはにほへと ちりぬるを わかよたれそ つねならむ
שלום עולם. مرحبا بالعالم. नमस्ते दुनिया. สวัสดีชาวโลก
In 1984, 2001 and 3.14159 there were 12345678 numbers, 42 of them even.""".split("\n")


def corpus():
    """About 60 KB: the sentences, and invented words that follow Zipf's law, so that counts tie often."""
    rng = random.Random(1)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(rng.choice(syllables) for _ in range(rng.randint(1, 4))) for _ in range(700)]
    docs = []
    for _ in range(60):
        line = [words[min(int(rng.paretovariate(0.7)) - 1, len(words) - 1)] for _ in range(rng.randint(40, 200))]
        docs.append(" ".join(line) + ".\n" + rng.choice(SENTENCES) + "\n" * rng.randint(1, 3) + rng.choice(SENTENCES))
    return docs


def torture():
    """Texts that pre-tokenizers get wrong."""
    t = ["", " ", "  ", "\n", "\r\n", "\t", "a", " a", "a ", "  a", "a  b   c", "a\n\n b", "a \n b", "\n\n\n", "  \n  x", "x  \n\n  ", "\r\n\r\n x",
         "it's IT'S we'LL We'll they'Re don'T I'M he'D 's 'S 'll'LL 've've ''s 'x' 'ſ it'ſ", "'", "''", "' s", "a'b'c", "\u2019s it\u2019s",
         "1 12 123 1234 12345 123456789012", "3.14 1,000,000 0x1F 1e-9", "٣٤٥٦ १२३४ ¼½¾ Ⅷ ①② 五", "x1y22z333", "１２３４",
         "a\u00a0b \u00a0c\u00a0\u00a0d", "\u2003em\u2003\u2003space", "\u3000全角\u3000", "a\u200bb\u200cc\u200dd\ufeffe", "a\u0085b\u2028c\u2029d", "\x0b\x0c\x1c\x1d\x1e\x1f x",
         "\x00\x01\x02\x7f\x80\x9f", "\u0000", "tab\there\t\tthere\t \tend\t", "trailing   ", "   leading", "mixed \t \n \t x",
         "naïve café", "nai\u0308ve cafe\u0301", "e\u0301\u0302\u0303", "\u0301start", "Ångström ﬁne ﬂow", "ǅ ʰ ª º", "ǆǅǄ",
         "👍", "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈", "🇩🇪🇫🇷🇯🇵", "a👍b 👍 c", "😀😀😀  😀", "☺️ ♥ ➡️", "\U0001f9d1\u200d\U0001f4bb",
         "天地玄黃宇宙洪荒", "你好,世界。 日本語のテキスト 한국어 텍스트", "日本語123テスト", "𠀀𠀁𪛖", "ﾊﾝｶｸ",
         "שלום עולם", "مرحبا بالعالم ١٢٣", "हिन्दी में लिखा", "ภาษาไทย", "தமிழ்", "বাংলা", "Ελληνικά ΣΣς", "Русский Текст",
         "func main() {\n\tfmt.Println(\"hi\")\n}\n", "a+=b--c&&d||!e", "x := []byte{0x00, 0xFF}", "// comment ----- =====\n#include <a.h>\n", "/*\n * block\n */", "{{{}}}[[[]]](())",
         "http://example.com/a?b=c&d=%20#x", "a_b-c.d@e.f", "C:\\dir\\file", "$100 €200 £3 ¥4", "50% ±1 ×2 ÷3", "…—–«»„“”", "!!!???...", "?!\n\n?!\r\n?!", " !\n !", "-\n-\n",
         "A" * 200, "ab" * 100, " " * 100, "=" * 100, "\n" * 50, "abc " * 40, "天" * 80, "0" * 50, "a" + " " * 20 + "b", "x" + "\n \n" * 5 + "y",
         "QmFzZTY0IGVuY29kZWQgdGV4dCBpcyBhIGxvbmcgcnVuIG9mIGxldHRlcnM" * 4, "\u1c89\ua7cb\U00010d40\U000105c0", "\ufffd\ufffe\U0010ffff", "\U0001e900 \U00011f04"]
    rng = random.Random(2)
    pool = list("aZ9 '\n\r\t.-sSlLtTé天👍\u00a0\u0301ſ½\u200d") + ["'s", "'ll", "  ", " 12", "\r\n"]
    t += ["".join(rng.choice(pool) for _ in range(rng.randint(1, 40))) for _ in range(150)]
    return t + SENTENCES


ADDED = ["a<|endoftext|>b", "<|endoftext|><|endoftext|>", " <|endoftext|> ", "<|endo", "x <left> y", "x  <left>  <left>y", "x <right> \n y", "<right>  <left>",
         "word", "words word, aword word", "word_word éword wordé word", "<|im_start|>user\nhi<|im_end|>\n", "<tool><tool>x", "a <tool> b", "<toolbox> <tool", "lowlower low", "a Zzyzx Zzyzxx"]


def blank(pattern):
    t = Tokenizer(models.BPE())
    if pattern == "gpt2":
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    return t


def train(pattern, docs, size):
    t = blank(pattern)
    t.train_from_iterator(docs, trainers.BpeTrainer(vocab_size=size, special_tokens=[EOT], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return t


def ids(t, texts, special):
    t.encode_special_tokens = not special
    return [t.encode(s, add_special_tokens=False).ids for s in texts]


def variant(t):
    """The same merges with ids in another order, ignore_merges, a prefix space and added tokens of every kind."""
    j = json.loads(t.to_str())
    vocab = j["model"]["vocab"]
    order = list(range(len(vocab)))
    random.Random(3).shuffle(order)
    j["model"]["vocab"] = {k: order[v] for k, v in vocab.items()}
    j["model"]["vocab"]["ĠZzyzx"] = len(order)  # a whole word that no merge makes
    j["model"]["ignore_merges"] = True
    j["model"]["merges"] = [" ".join(m) for m in j["model"]["merges"]]
    j["pre_tokenizer"]["add_prefix_space"] = True
    j["added_tokens"][0]["id"] = order[0]
    v = Tokenizer.from_str(json.dumps(j))
    v.add_tokens([AddedToken("<left>", lstrip=True, normalized=False), AddedToken("<right>", rstrip=True, normalized=False),
                  AddedToken("word", single_word=True), AddedToken("<tool>"), AddedToken("<toolbox>"), AddedToken("low"), AddedToken("lower")])
    v.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    out = json.loads(v.to_str())
    out["model"]["merges"] = j["model"]["merges"]
    return Tokenizer.from_str(json.dumps(out)), json.dumps(out, ensure_ascii=False)


def golden():
    os.makedirs(f"{OUT}/testdata", exist_ok=True)
    docs, texts = corpus(), torture()
    result = {"made_with": "tokenizers " + tokenizers.__version__, "texts": texts, "added_texts": ADDED, "corpus": docs}
    for pattern in ("gpt2", "llama3"):
        t = train(pattern, docs, 900)
        t.save(f"{OUT}/testdata/{pattern}.json", pretty=False)
        result[pattern] = ids(t, texts, False)
        if pattern == "gpt2":
            v, text = variant(t)
            open(f"{OUT}/testdata/variant.json", "w").write(text)
            result["variant"] = ids(v, texts + ADDED, False)
            result["variant_special"] = ids(v, texts + ADDED, True)
    json.dump(result, open(f"{OUT}/testdata/golden.json", "w"), ensure_ascii=False, separators=(",", ":"))


def classes():
    def ranges(regex):
        p, out = pre_tokenizers.Split(Regex(regex), "removed", invert=True), []
        for start in range(0, 0x110000, 4096):
            chunk = [c for c in range(start, start + 4096) if not 0xD800 <= c < 0xE000]
            for _, (a, b) in p.pre_tokenize_str("".join(map(chr, chunk))):
                for c in chunk[a:b]:
                    if out and c == out[-1][1] + 1:
                        out[-1][1] = c
                    else:
                        out.append([c, c])
        return out

    o = ["// Code generated by testdata/gen/tokenizer.py classes; DO NOT EDIT.", "", "package bytepair", "",
         "// Unicode 16.0 ranges (first, last) of the classes that the pre-tokenizer patterns name, as the reference library's regex engine",
         f"// (tokenizers {tokenizers.__version__}) has them. Go's unicode package is not used: its Unicode version changes with the Go release, ids must not."]
    for regex, name in ((r"\p{L}", "letterRanges"), (r"\p{N}", "numberRanges"), (r"\s", "spaceRanges")):
        o += ["", f"// {name} is {regex}.", f"var {name} = []uint32{{"]
        items = [f"{a:#x}, {b:#x}," for a, b in ranges(regex)]
        o += ["\t" + " ".join(items[i : i + 6]) for i in range(0, len(items), 6)] + ["}"]
    open(f"{OUT}/../internal/bytepair/classes_table.go", "w").write("\n".join(o) + "\n")


def read_docs(path):
    b, i, docs = open(path, "rb").read(), 0, []
    while i < len(b):
        (n,) = struct.unpack_from("<I", b, i)
        docs.append(b[i + 4 : i + 4 + n])
        i += 4 + n
    return docs


def check(folder, docs_path, ids_path):
    from transformers import AutoTokenizer

    t = Tokenizer.from_file(folder + "/tokenizer.json")
    t.encode_special_tokens = True
    auto = AutoTokenizer.from_pretrained(folder)
    print("transformers:", type(auto).__name__, len(auto), "bos", auto.bos_token_id, "eos", auto.eos_token_id, "pad", auto.pad_token_id, "max", auto.model_max_length)
    f, i, bad, invalid, tokens, start = open(ids_path, "rb").read(), 0, 0, 0, 0, time.time()
    docs = read_docs(docs_path)
    for k, d in enumerate(docs):
        (n,) = struct.unpack_from("<I", f, i)
        ours = array.array("i")
        ours.frombytes(f[i + 4 : i + 4 + 4 * n])
        i += 4 + 4 * n
        try:
            text = d.decode()
        except UnicodeDecodeError:
            invalid += 1
            continue
        tokens += n
        theirs = t.encode(text, add_special_tokens=False).ids
        bad += theirs != list(ours)
        if k % 100 == 0 and auto(text, add_special_tokens=False)["input_ids"] != t.encode(text, add_special_tokens=False).ids:
            print("transformers differs on document", k)
    print(f"documents {len(docs)}, different {bad}, not UTF-8 {invalid}, tokens {tokens}, {time.time() - start:.0f} s")
    sys.exit(bad > 0)


def check_train(folder, docs_path):
    ours = json.load(open(folder + "/tokenizer.json"))
    pattern = "gpt2" if ours["pre_tokenizer"]["type"] == "ByteLevel" else "llama3"
    docs = [d.decode() for d in read_docs(docs_path)]
    start = time.time()
    theirs = json.loads(train(pattern, docs, len(ours["model"]["vocab"])).to_str())
    same = [" ".join(m) for m in theirs["model"]["merges"]] == ours["model"]["merges"]
    print(f"{pattern}: {len(ours['model']['merges'])} merges, equal {same}, vocabulary equal {theirs['model']['vocab'] == ours['model']['vocab']}, reference took {time.time() - start:.0f} s")
    sys.exit(not same)


{"golden": golden, "classes": classes, "check": check, "train": check_train}[sys.argv[1]](*sys.argv[2:])
