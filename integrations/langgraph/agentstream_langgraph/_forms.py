"""What the serializer made of a value, as JSON: readable where that loses nothing, else a compressed block.

- `{"v": …}`: plain msgpack (no class in it), in the recorded form of any agentstream value;
- `{"t": type, "z": block}`: deflated with the dictionary below; with `"of": key` also with the text of the `message`
  event of that key, so that a message's text is stored once and can be read by everyone;
- `{"t": type, "b": block}`: bytes that do not become smaller, encrypted ones for example;
- `{"t": type}`: no bytes.

What the event of a message says in texts of more than 8 KB is cut out of its forms: `"cut"` tells, for each place, how
many bytes stand before it, and which of those texts is to stand there (each once, in the order of their bytes).

A message's own event holds its form in the field `kept`, compressed against its text and id; where that gives the same
block as for an earlier message under the claim, `kept` is the key of that one.

Lists and dicts are ranges of items, `{"$items": …}` and `{"$pairs": …}`; with `"one"` the only element itself.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any

import ormsgpack

from agentstream.adapters import decode, encode
from agentstream_langgraph._readable import Words

Typed = tuple[str, bytes]
"""What `dumps_typed` gives and `loads_typed` takes."""

Form = dict[str, Any]

ITEMS, PAIRS = "$items", "$pairs"

SMALLEST = 48
"""Fewer bytes are not worth compressing."""

NULL: Form = {"t": "null"}

NO_WORDS = Words()

_PACK = ormsgpack.OPT_NON_STR_KEYS

DICTIONARY = (
    b'["agent","tools","model","tasks","__pregel_tasks","__interrupt__","__resume__","__end__","branch:to:agent",'
    b'"branch:to:tools","$map":"parents":{"":"1f1"},"run_id":"","source":"input","step":-1,"parents":{}}},"versions":["1~'
    b'{"v":4,"ts":"2026-12-24T01:35:46.789012+00:00","updated_channels":["branch:to:model","messages"],'
    b'"channels":{"__start__":0,"messages":1,"branch:to:model":1,"branch:to:tools":1},"seen":{"__input__":{},'
    b'"__start__":{"__start__":2},"agent":{"branch:to:agent":3},"model":{"branch:to:model":3},'
    b'"tools":{"branch:to:tools":3}},"versions":["2~","~"],"metadata":{"v":{"source":"loop","step":9,"parents":{}}}}'
    b"\xadlanggraph.types\xa4Send\xa9Interrupt\x82\xa5value\xa2id\xc0"
    b"\xbdlangchain_core.documents.base\xa8Document\x84\xa2id\xc0\xa8metadata\xacpage_content\xa4type"
    b"\xbelangchain_core.messages.system\xadSystemMessage\xa6system"
    b"\xbclangchain_core.messages.tool\xabToolMessage\x89\xa4tool\xa4name\xactool_call_id\xa8artifact\xc0"
    b"\xa6status\xa7success\xa5error\xa9tool_call\xa4args\x81\xa5query\xa4call_"
    b"\xadfinish_reason\xaatool_calls\xa4stop\xaamodel_name\xaemodel_provider\xa6openai\xa9anthropic\xb2system_fingerprint"
    b"\xacservice_tier\xa7default\xabtoken_usage\xb1completion_tokens\xadprompt_tokens\xb0reasoning_tokens"
    b"\xb4input_token_details\x81\xaacache_read\x00\xb5output_token_details\x81\xa9reasoning\x00"
    b"\xbdlangchain_core.messages.human\xacHumanMessage\x86\xa7content\xa0\xb1additional_kwargs\x80"
    b"\xb1response_metadata\x80\xa4type\xa5human\xa4name\xc0\xa2id\xd9$"
    b"\xbalangchain_core.messages.ai\xa9AIMessage\x89\xa7content\xa0\xb1additional_kwargs\x80"
    b"\xb1response_metadata\x80\xa4type\xa2ai\xa4name\xc0\xa2id\xd9$run--\xaatool_calls\x90"
    b"\xb2invalid_tool_calls\x90\xaeusage_metadata\xc0\x83\xacinput_tokens\xadoutput_tokens\xactotal_tokens"
    b"\xb3model_validate_json"
)
"""Part of the stored format: never changed, only another one may be added under another letter."""


def form_of(typed: Typed, words: Words = NO_WORDS, of: str = "") -> Form:
    """The form of a serialized value. `words`: what the message event with the key `of` says, where there is one."""
    kind, data = typed
    if not data:
        return {"t": kind}
    data, cut = _without(data, words.long)
    if kind == "msgpack" and not words.text and not cut and data[0] not in _EXTENSIONS:
        plain = _plain(data)
        if plain is not None:
            return plain
    if len(data) >= SMALLEST:
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY + words.text)
        block = deflate.compress(data) + deflate.flush()
        if len(block) < len(data):
            return {"t": kind, "z": b64encode(block).decode(), **({"of": of} if words.text or cut else {}), **cut}
    return {"t": kind, "b": b64encode(data).decode(), **({"of": of} if cut else {}), **cut}


def form_beside(typed: Typed, words: Words, name: bytes) -> Form:
    """The form that stands in an event beside its words: compressed against those and the message's `name`."""
    kind, data = typed[0], typed[1]
    data, cut = _without(data, words.long)
    block = squeezed(data, words.text + name)
    shorter = {"z": block} if len(block) * 3 < len(data) * 4 else {"b": b64encode(data).decode()}
    return {"t": kind, **shorter, **cut}


def _without(data: bytes, long: Sequence[bytes]) -> tuple[bytes, dict[str, list[int]]]:
    """`data` without these texts, and the field of the form that says where they stood."""
    found = sorted((at, which) for which, text in enumerate(long) for at in _places(data, text))
    kept: list[bytes] = []
    cut: list[int] = []
    end = size = 0
    for at, which in found:
        if at >= end:
            kept.append(data[end:at])
            size += at - end
            cut += (size, which)
            end = at + len(long[which])
    return (b"".join((*kept, data[end:])), {"cut": cut}) if cut else (data, {})


def _places(data: bytes, text: bytes) -> Iterator[int]:
    at = data.find(text)
    while at >= 0:
        yield at
        at = data.find(text, at + len(text))


def _with(data: bytes, cut: Sequence[int], long: Sequence[bytes]) -> bytes:
    made: list[bytes] = []
    end = 0
    for at, which in zip(cut[::2], cut[1::2], strict=True):
        made += (data[end:at], long[which])
        end = at
    return b"".join((*made, data[end:]))


def squeezed(data: bytes, text: bytes) -> str:
    """`data`, deflated with the dictionary and `text` before it."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY + text)
    return b64encode(deflate.compress(data) + deflate.flush()).decode()


def is_bare(form: Form) -> bool:
    """Whether it says nothing to people: it refers to items, or is nothing."""
    return ITEMS in form or PAIRS in form or form == NULL


def typed_of(form: Form, words: Words = NO_WORDS, name: bytes = b"") -> Typed:
    """What the serializer is to be given. Raises ValueError for what is no form, or is damaged."""
    if "v" in form:
        return "msgpack", ormsgpack.packb(decode(form["v"]), option=_PACK)
    kind = form.get("t")
    if not isinstance(kind, str):
        raise ValueError(f"no stored value: {str(form)[:80]}")
    data = unsqueezed(form["z"], words.text + name) if "z" in form else b64decode(form.get("b", ""))
    try:
        return kind, _with(data, form["cut"], words.long) if "cut" in form else data
    except IndexError:
        raise ValueError("a stored value is damaged: its message's event does not say what it leaves out") from None


def unsqueezed(block: str, text: bytes) -> bytes:
    """What `squeezed` was given. Raises ValueError for what is damaged."""
    try:
        inflate = zlib.decompressobj(-15, DICTIONARY + text)
        return inflate.decompress(b64decode(block)) + inflate.flush()
    except zlib.error as error:
        raise ValueError(f"a stored value is damaged: {error}") from error


_EXTENSIONS = frozenset((0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8))
"""First bytes of msgpack's extension types: a class instance."""


def _plain(data: bytes) -> Form | None:
    """The readable form, if it gives back these very bytes."""
    try:
        form = encode(ormsgpack.unpackb(data, option=_PACK)).data
        return {"v": form} if ormsgpack.packb(decode(form), option=_PACK) == data else None
    except (TypeError, ValueError):  # an extension inside, or nested deeper than a record may be
        return None
