"""SST-2 from scratch: test accuracy of the served model, beside TF-IDF with logistic regression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from rows.platform import Platform, Trained, line

STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)


def spec(data: Path, seed: int) -> dict[str, Any]:
    """The job: so few sentences want a shallow encoder and much dropout."""
    folder = data / "sst2"
    return {
        "name": f"sst2-{seed}",
        "model": {
            "family": "bert", "layers": 1, "heads": 4, "width": 128, "context": 80,
            "dropout": 0.5,
        },
        "task": {"kind": "sentiment", "pooling": "mean"},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 8000, "lowercase": True},
        "data": {
            "files": [str(folder / "train.tsv")], "validation_files": [str(folder / "dev.tsv")],
            "header": False, "columns": {"text": "0", "label": "1"},
        },
        "resources": {"workers": 2},
        "parallel": {"strategy": "ddp"},  # so small a model is not worth sharding
        "train": {
            "steps": 1700, "batch_size": 32, "lr": 3e-4, "min_lr": 3e-5, "warmup_steps": 85,
            "beta2": 0.98, "weight_decay": 0.01, "eval_every": 425, "eval_batches": 0,
            "log_every": 50, "seed": seed,
        },
        "publish": {"every": 0},
    }  # fmt: skip


def rows(data: Path, name: str) -> tuple[list[str], list[str]]:
    """Sentences and labels of a split."""
    lines = (data / "sst2" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [text.rsplit("\t", 1) for text in lines if text]
    return [text for text, _ in pairs], [label for _, label in pairs]


def tfidf(data: Path, *, tuned: bool) -> float:
    """Test accuracy of the library's defaults, or of the best on the dev split among a grid."""
    train, labels = rows(data, "train")
    dev, dev_labels = rows(data, "dev")
    options: list[dict[str, Any]] = [{}]
    if tuned:
        options = [
            {"ngram_range": (1, longest), "sublinear_tf": True, "min_df": least}
            for longest in (1, 2)
            for least in (1, 2)
        ]
    found = []
    for option in options:
        vectorizer = TfidfVectorizer(**option)
        features = vectorizer.fit_transform(train)
        for strength in STRENGTHS if tuned else (1.0,):
            model = LogisticRegression(C=strength, max_iter=2000).fit(features, labels)
            dev_accuracy = model.score(vectorizer.transform(dev), dev_labels)
            found.append((dev_accuracy, vectorizer, model))
    _, vectorizer, model = max(found, key=lambda each: each[0])
    test, test_labels = rows(data, "test")
    return float(model.score(vectorizer.transform(test), test_labels))


def accuracy(platform: Platform, trained: Trained, data: Path) -> float:
    """Deploy, classify the test split, count."""
    texts, labels = rows(data, "test")
    with platform.serving(trained.name) as model:
        found = platform.client.classify(model, texts, top_k=1)
    right = sum(each.labels[0].label == label for each, label in zip(found, labels, strict=True))
    return right / len(labels)


def run(platform: Platform, data: Path, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Accuracy beside both forms of the baseline."""
    done = [platform.train(spec(data, seed)) for seed in seeds]
    scores = [accuracy(platform, each, data) for each in done]
    seconds = round(max(each.seconds for each in done))
    metric = "SST-2 (6,920 sentences) from scratch: test accuracy"
    for name, tuned in (("its defaults", False), ("tuned on dev", True)):
        baseline = f"TF-IDF + logistic regression, {name}"
        yield line(metric, scores, "", baseline, [tfidf(data, tuned=tuned)], seconds=seconds)


def missed(lines: Sequence[Mapping[str, Any]]) -> str:
    """What the aim lacks; empty: it is reached."""
    return ", ".join(
        f"accuracy of {line['value']}, not above {line['baseline_value']} of {line['baseline']}"
        for line in lines
        if line["value"] <= line["baseline_value"]
    )
