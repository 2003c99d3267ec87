#!/usr/bin/env python3
"""Measures datatrove's filters and MinHash signatures on one core, in MB/s, on the texts of BenchmarkSteps.

    pip install "datatrove[processing]==0.10.1" spacy nltk fasttext-numpy2-wheel
    go test ./data/curate/... -run xxx -bench 'Steps|URLs|Passes' -cpu 1
    python scripts/peers/curate.py [--seconds 3] [--steps classifier,words]

Documents are read before the clock starts, and each filter sees each document fresh.
"""

import argparse
import pathlib
import random
import re
import subprocess
import tempfile
import time

from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
from datatrove.pipeline.dedup import SentDedupConfig, SentenceDedupFilter, SentenceDedupSignature, SentenceFindDedups
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.filters import C4BadWordsFilter, C4QualityFilter, FastTextClassifierFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter, URLFilter
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
from tldextract import TLDExtract

WORDS = """farmer captain brother printer winter committee river lantern neighbour house stone ship cargo road town chair walked
remembered carried mended looked spoke grey old seven broken quiet early under over between after through garden letter bread window""".split()


def prose(n: int) -> str:
    r = random.Random(n)
    lines = []
    for _ in range(n):
        w = r.choices(WORDS, k=8)
        lines.append(" ".join(["The", *w[:4], "of the", *w[4:]]) + ".\n")
    return "".join(lines)


def texts() -> dict[str, list[str]]:
    root = pathlib.Path(subprocess.check_output(["go", "env", "GOROOT"], text=True).strip()) / "src"
    files = sorted(f for name in ("net", "encoding") for f in (root / name).rglob("*.go"))
    return {"source": [f.read_text(errors="replace") for f in files], "prose": [prose(20 + n) for n in range(400)]}


def words():
    """C4's filter with a list of 400 words, as it would read them from a file."""
    step = C4BadWordsFilter()
    listed = [re.escape(f"badword{7 * i}") for i in range(400)]
    step._badwords_regex["en"] = re.compile(r"(?:\W|^)({})(?:\W|$)".format("|".join(listed)))
    return step.filter


def decontaminate():
    """13-grams of 1000 questions, in the index that the indexer would write."""
    step = NGramsDecontFilter(index_folder=tempfile.mkdtemp(), config=NGramsDecontConfig(n_grams=13))
    step._index_hashes = {}
    for i in range(1000):
        question = f"question {i} asks for the number of " + " ".join(f"thing{7 * j}" for j in range(12))
        tokens = step.tokenizer.word_tokenize(question)
        for at in range(len(tokens) - 12):
            step._index_hashes[step.hash_func(" ".join(tokens[at : at + 13]))] = "quiz"
    return step.filter


def classifier(all_texts: list[str]):
    """A fastText model of word pairs, trained on the texts against made prose."""
    import fasttext

    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as f:
        for i, text in enumerate(all_texts):
            f.write("__label__good " + " ".join(text.split()) + "\n__label__bad " + " ".join(prose(i + 1).split()) + "\n")
    model = fasttext.train_supervised(f.name, wordNgrams=2, bucket=1 << 20, epoch=1, thread=1, verbose=0)
    step = FastTextClassifierFilter("none", keep_labels=[("good", 0.0)])
    step._model = model.f and model
    return step.filter


def urls(seconds: float):
    """The filter of addresses, with lists of 1000 hosts and of 100 words of each kind."""
    step = URLFilter(
        extra_domains=[f"bad{7 * i}.example" for i in range(1000)],
        banned_words=[f"hard{7 * i}" for i in range(100)],
        banned_subwords=[f"part{7 * i}" for i in range(100)],
        soft_banned_words=[f"soft{7 * i}" for i in range(100)],
        use_integrated_lists=False,
    )
    step.tldextractor = TLDExtract(suffix_list_urls=())  # the list that it comes with
    r = random.Random(4)
    docs = [
        Document(
            text="",
            id=str(i),
            metadata={
                "url": f"https://www.host{r.randrange(5000)}.example/news/{r.randrange(3000)}/"
                f"an-article-about-word{r.randrange(5000)}-and-word{r.randrange(5000)}.html"
            },
        )
        for i in range(1000)
    ]
    step.filter(docs[0])
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        step.filter(docs[done % 1000])
        done += 1
    print(f"urls: {(time.perf_counter() - begin) / done * 1e9:.0f} ns/op", flush=True)


def lines(kind: str, all_texts: list[str]):
    """Repeated lines, from documents in memory to documents: signatures, search, removal."""
    config = SentDedupConfig(n_sentences=1, split_sentences=False, only_dedup_in_index=False, min_doc_words=1, min_num_sentences=1)
    folder = tempfile.mkdtemp()
    docs = [Document(text=text, id=str(i)) for i, text in enumerate(all_texts)]
    begin = time.perf_counter()
    SentenceDedupSignature(output_folder=f"{folder}/sigs", config=config).run(docs, 0, 1)
    SentenceFindDedups(data_folder=f"{folder}/sigs", output_folder=f"{folder}/dups", config=config).run(None, 0, 1)
    for _ in SentenceDedupFilter(data_folder=f"{folder}/dups", config=config).run(docs, 0, 1):
        pass
    size = sum(len(text.encode()) for text in all_texts)
    print(f"{kind}/lines: {size / 1e6 / (time.perf_counter() - begin):.2f} MB/s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--steps", help="names of steps with commas between them; all of them where it is not given")
    args = parser.parse_args()
    seconds, wanted = args.seconds, args.steps and args.steps.split(",")
    signature = MinhashDedupSignature(output_folder="/tmp/unused", config=MinhashConfig())
    pii, mend = PIIFormatter(), FTFYFormatter()
    steps = {
        "mend": lambda d: mend.format(d.text),
        "pii": lambda d: pii.format(d.text),
        "gopher_repetition": GopherRepetitionFilter().filter,
        "gopher_quality": GopherQualityFilter().filter,
        "c4": C4QualityFilter().filter,
        "fineweb": FineWebQualityFilter().filter,
        "words": words(),
        "decontaminate": decontaminate(),
        "minhash": lambda d: signature.get_signature(signature.get_shingles(d.text)),
    }
    if not wanted or "urls" in wanted:
        urls(seconds)
    for kind, all_texts in texts().items():
        if not wanted or "lines" in wanted:
            lines(kind, all_texts)
        for name, step in {**steps, "classifier": classifier(all_texts)}.items():
            if wanted and name not in wanted:
                continue
            step(Document(text=all_texts[0], id="0"))  # loads what it needs
            done, begin = 0, time.perf_counter()
            for i, text in enumerate(all_texts):
                step(Document(text=text, id=str(i)))
                done += len(text.encode())
                if time.perf_counter() - begin > seconds:
                    break
            print(f"{kind}/{name}: {done / 1e6 / (time.perf_counter() - begin):.2f} MB/s", flush=True)


main()
