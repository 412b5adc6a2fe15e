"""Tokenizers of transformers as people have them: every kind, any special tokens, any frame."""

from __future__ import annotations

import json

import transformers
from checkpoints import TEXTS, fast, vocabulary
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AddedToken

KINDS = ("byte_bpe", "wordpiece", "unigram", "character", "words", "sentencepiece_bpe")
CHATS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}",
    """{% for m in messages %}<|im_start|>{{ m['role'] }}
{{ m['content'] | trim }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}""",
    """{{ bos_token or '' }}{% for m in messages if m.role != 'system' %}[{{ loop.index }}]
{{ m.content }}{% endfor %}""",
)
_MARKS = ("<|{}|>", "[{}]", "<{}>", "«{}»")
_WELL_KNOWN = (
    {"end": "[SEP]", "start": "[CLS]", "pad": "[PAD]", "mask": "[MASK]", "unknown": "[UNK]"},
    {"end": "</s>", "start": "<s>", "pad": "<pad>", "mask": "<mask>", "unknown": "<unk>"},
    {"end": "<|endoftext|>"},
)
_NORMALIZERS = (
    normalizers.Lowercase,
    normalizers.NFKC,
    normalizers.NFC,
    lambda: normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
)
_WRITES = {"start": "bos_token", "end": "eos_token"}
_READS = {"start": "cls_token", "end": "sep_token"}
_COMMON = {"pad": "pad_token", "mask": "mask_token", "unknown": "unk_token"}
WORDS = sorted({word for text in TEXTS for word in text.split()})
_SPACES = (" ", "", "  ", "\n", "\t")
TEXT = st.lists(
    st.tuples(st.sampled_from(WORDS) | st.text(max_size=4), st.sampled_from(_SPACES)), max_size=5
).map(lambda parts: "".join(word + space for word, space in parts))
"""Words that a vocabulary knows and what it has never seen."""


@st.composite
def special_names(draw):
    """Names of special tokens by their roles: well-known ones, or any."""
    known = draw(st.sampled_from([None, *_WELL_KNOWN]))
    if known is not None:
        return dict(known)
    mark = draw(st.sampled_from(_MARKS))
    names = {"end": mark.format("im_end"), "unknown": mark.format("what")}
    others = {"start": "im_start", "pad": "fill", "mask": "hide"}
    return names | {role: mark.format(name) for role, name in others.items() if draw(st.booleans())}


def _model(kind, names, *, lowercase):
    if kind == "words":
        return _words(names)
    if kind == "sentencepiece_bpe":
        return _sentencepiece_bpe(names)
    return vocabulary(kind, names, lowercase=lowercase)


def _words(names):
    listed = [*dict.fromkeys(names.values()), *WORDS]
    unknown = names.get("unknown", names["end"])
    inner = Tokenizer(models.WordLevel({word: n for n, word in enumerate(listed)}, unknown))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.add_special_tokens(list(names.values()))
    return inner


def _sentencepiece_bpe(names):
    """As of the first Llamas: spaces as ▁, bytes for what the vocabulary lacks."""
    characters = sorted({c for text in TEXTS for c in text if ord(c) < 128 and c != " "} | {"▁"})
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("a", "t"), ("▁", "s"), ("o", "g")]
    pieces = [*dict.fromkeys(names.values()), *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [*characters, *("".join(pair) for pair in merges)]
    inner = Tokenizer(
        models.BPE(
            {piece: n for n, piece in enumerate(pieces)}, merges, fuse_unk=True,
            byte_fallback=True, unk_token=names.get("unknown"),
        )
    )  # fmt: skip
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    inner.add_special_tokens(list(names.values()))
    return inner


@st.composite
def _processors(draw, names, inner):
    """What stands around a text, or two."""
    start, end = names.get("start", names["end"]), names["end"]
    ids = {name: inner.token_to_id(name) for name in {start, end}}
    shape = draw(st.sampled_from(["none", "bytes", "bert", "roberta", "both", "template"]))
    if shape == "none":
        return None
    if shape == "bytes":
        return processors.ByteLevel(trim_offsets=draw(st.booleans()))
    if shape == "bert":
        return processors.BertProcessing((end, ids[end]), (start, ids[start]))
    if shape == "roberta":
        return processors.RobertaProcessing((end, ids[end]), (start, ids[start]))
    single, pair = draw(
        st.sampled_from(
            [
                (f"{start} $A {end}", f"{start} $A {end} $B:1 {end}:1"),
                (f"$A {end}", f"$A $B {end}"),
                (f"{start} $A", f"{start} $A {start}:1 $B:1"),
                (f"{start} $A {end}", f"{start} $A {end} {end} $B {end}"),
                ("$A", "$A $B"),
                (f"$A {end}", f"$A {end} $B:1 {end}:1"),
            ]
        )
    )
    template = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=list(ids.items())
    )
    if shape == "template":
        return template
    return processors.Sequence([processors.ByteLevel(trim_offsets=False), template])


@st.composite
def tokenizers(draw, *, reads, writes, sentences=False):
    """A tokenizer of transformers.

    Args:
        draw: of hypothesis.
        reads: whether its model reads texts whole.
        writes: whether its model writes.
        sentences: whether sentence-transformers reads with it, which needs one that fills up and
            has no chat template.
    """
    names = draw(special_names())
    if sentences:
        names.setdefault("pad", names["end"])
    if draw(st.sampled_from([False, False, True])):
        return draw(_of_a_class(names, reads=reads, writes=writes, sentences=sentences))
    inner = _model(draw(st.sampled_from(KINDS)), names, lowercase=draw(st.booleans()))
    more = draw(st.lists(st.sampled_from(_NORMALIZERS), max_size=2))
    if more:
        own = [] if inner.normalizer is None else [inner.normalizer]
        inner.normalizer = normalizers.Sequence([*(make() for make in more), *own])
    inner.post_processor = draw(_processors(names, inner)) or inner.post_processor
    roles = {**_COMMON}
    stated = {role: name for role, name in names.items() if role in _COMMON}
    special = {roles[role]: name for role, name in stated.items()}
    for wanted, keys in ((reads, _READS), (writes, _WRITES)):
        if wanted or draw(st.booleans()):
            special |= {keys[role]: names[role] for role in keys if role in names}
    theirs = fast(inner, **special, **draw(settings(segments=reads and not writes)))
    return draw(_with_more(theirs, sentences=sentences))


@st.composite
def _with_more(draw, theirs, *, sentences):
    """With tokens added later, and a chat template."""
    theirs.add_tokens(draw(st.lists(added_tokens(), max_size=2)))
    if not sentences:
        theirs.chat_template = draw(st.sampled_from([None, *CHATS, "several"]))
        if theirs.chat_template == "several":
            theirs.chat_template = {"default": CHATS[0], "tool_use": CHATS[1], "rag": CHATS[2]}
    return theirs


@st.composite
def _of_a_class(draw, names, *, reads, writes, sentences):
    """One of a class of transformers that has its own word in it."""
    flags = {
        "BertTokenizer": ("do_lower_case", "tokenize_chinese_chars", "strip_accents"),
        "GPT2Tokenizer": ("add_prefix_space", "add_bos_token"),
        "RobertaTokenizer": ("add_prefix_space", "trim_offsets"),
        "LlamaTokenizer": ("add_prefix_space", "add_bos_token", "add_eos_token"),
    }
    name = draw(st.sampled_from(sorted(flags)))
    kinds = {"BertTokenizer": "wordpiece", "LlamaTokenizer": "sentencepiece_bpe"}
    every = {"start": "<s>", "pad": "<pad>", "mask": "<mask>", "unknown": "<unk>", **names}
    content = json.loads(_model(kinds.get(name, "byte_bpe"), every, lowercase=False).to_str())
    options = {flag: draw(st.booleans()) for flag in flags[name] if draw(st.booleans())}
    if name != "BertTokenizer":
        options["merges"] = [tuple(pair) for pair in content["model"]["merges"]]
    roles = {**_COMMON, **(_READS if name == "BertTokenizer" else _WRITES)}
    options |= {theirs: every[role] for role, theirs in roles.items()}
    if name == "RobertaTokenizer":
        options |= {theirs: every[role] for role, theirs in _READS.items()}
    more = draw(settings(segments=reads and not writes))
    made = getattr(transformers, name)(vocab=content["model"]["vocab"], **options, **more)
    return draw(_with_more(made, sentences=sentences))


@st.composite
def settings(draw, *, segments):
    """What `tokenizer_config.json` says beside the names."""
    inputs = ["input_ids", *(["token_type_ids"] if segments and draw(st.booleans()) else []),
              "attention_mask"]  # fmt: skip
    found = {
        "model_max_length": draw(st.sampled_from([9, 64, 10**30])),
        "padding_side": draw(st.sampled_from(["left", "right"])),
        "truncation_side": draw(st.sampled_from(["left", "right"])),
        "clean_up_tokenization_spaces": draw(st.booleans()),
        "model_input_names": inputs,
    }
    if draw(st.booleans()):
        found["split_special_tokens"] = draw(st.booleans())
    if draw(st.booleans()):
        found["extra_special_tokens"] = ["<|tool|>", "<image>"]
    return found


@st.composite
def added_tokens(draw):
    """A token that was added later."""
    flags = ("lstrip", "rstrip", "single_word", "normalized", "special")
    return AddedToken(
        draw(st.sampled_from(["HTML", "<think>", "<|tool|>", "the", "日本"])),
        **{flag: draw(st.booleans()) for flag in flags},
    )
