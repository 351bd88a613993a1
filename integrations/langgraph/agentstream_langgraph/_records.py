"""Checkpoints and writes as events, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import ormsgpack
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage]

from agentstream.adapters import Change, decode, encode, value_of
from agentstream_langgraph._forms import Form, form_of, is_bare, squeezed, typed_of

if TYPE_CHECKING:
    from agentstream import Event
    from agentstream_langgraph._index import Stored
    from agentstream_langgraph._lists import Decoder, Encoder, Known

RETURN = "__return__"
"""The channel of what a `@task` returned."""

HEAD = ("v", "ts", "updated_channels")
_COMPACT: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}
_NAMED = frozenset((*HEAD, "id", "channel_values", "channel_versions", "versions_seen"))


def checkpoint_event(
    encoder: Encoder,
    known: Known,
    ns: str,
    parent: str | None,
    checkpoint: dict[str, Any],
    metadata: dict[str, Any],
    new_versions: dict[str, Any],
    number: str,
) -> Change:
    """The event of one checkpoint: the values that are new in it, and what is told of all."""
    values: dict[str, Any] = checkpoint["channel_values"]
    versions: dict[str, Any] = checkpoint["channel_versions"]
    above = known.held_by(ns, parent)
    forms: dict[str, Form] = {}
    for channel, value in values.items():
        # what did not change stands with the parent
        if channel in new_versions or channel not in above or above[channel] != versions.get(channel):
            forms[channel] = encoder.form(ns, channel, value, f"channel {channel!r}", ("state", channel))
    key = checkpoint["id"] if known.is_new(ns, checkpoint["id"]) else f"{checkpoint['id']}#{number}"
    known.hold(ns, checkpoint["id"], {channel: versions.get(channel) for channel in values})
    gone = [channel for channel in new_versions if channel not in values and channel in versions]
    names: list[Any] = []
    places: dict[Any, int] = {}

    def place(version: Any) -> int:
        key = (type(version), version)
        if key not in places:
            places[key] = len(names)
            names.append(short_version(version))
        return places[key]

    head = {name: checkpoint[name] for name in HEAD if name in checkpoint and name != "ts"}
    head["channels"] = {channel: place(version) for channel, version in versions.items()}
    head["seen"] = {
        node: {channel: place(version) for channel, version in seen.items()}
        for node, seen in checkpoint["versions_seen"].items()
    }
    head["gone"] = gone
    more = {name: value for name, value in checkpoint.items() if name not in _NAMED}
    delta = set(metadata.get("counters_since_delta_snapshot") or ())
    delta |= {channel for channel, value in values.items() if isinstance(value, _DeltaSnapshot)}
    head["more"] = form_of(encoder.dumped(more, "checkpoint", ("checkpoint",))) if any(more.values()) else None
    head["source"] = metadata.get("source") if isinstance(metadata.get("source"), str) else None
    head["metadata"] = form_of(encoder.dumped(metadata, "metadata", ("metadata",)))
    # what is another in each checkpoint comes last, together: all before it is then one reference to the parent's
    head["values"] = {channel: form for channel, form in forms.items() if is_bare(form)}
    head["versions"] = names
    if "ts" in checkpoint:
        head["ts"] = short_time(checkpoint["ts"])
    last, before = known.last.get((encoder.claim, ns), (None, b""))
    follows = parent == last
    text = _packed(head, "checkpoint")
    told = {channel: form for channel, form in forms.items() if not is_bare(form)}
    known.last[encoder.claim, ns] = (checkpoint["id"], text)
    value: dict[str, Any] = {
        **({"ns": ns} if ns else {}),
        **({} if follows else {"parent": parent}),
        **({"source": head["source"]} if head["source"] not in (None, "loop") else {}),
        **({"step": metadata["step"]} if type(metadata.get("step")) is int else {}),
        "head": squeezed(text, before if follows else b""),
        **({"values": told} if told else {}),
        **({"delta": sorted(delta)} if delta else {}),
    }
    return "checkpoint", key, value


def head_of(text: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a checkpoint's head tells of it, and the versions of the channels."""
    head = _unpacked(text)
    names = head["versions"] = [
        _version(*name) if type(name) is list else whole_version(name) for name in head["versions"]
    ]
    return head, {channel: names[place] for channel, place in head.pop("channels").items()}


def _packed(data: Any, where: str) -> bytes:
    """As msgpack; as JSON, which takes it all, where there is a number or a text that msgpack has not."""
    try:
        return ormsgpack.packb(data, option=ormsgpack.OPT_NON_STR_KEYS)
    except TypeError:
        return json.dumps(encode(data, where=where).data, **_COMPACT).encode()


def _unpacked(text: bytes) -> Any:
    is_json = text[:1] in (b"{", b"[")
    return decode(json.loads(text)) if is_json else ormsgpack.unpackb(text, option=ormsgpack.OPT_NON_STR_KEYS)


_LONG = re.compile(r"0*(\d+)\.0\.(\d+)", re.ASCII)
_SHORT = re.compile(r"(\d+)~(\d+)", re.ASCII)


def short_version(version: Any) -> Any:
    """`[7, 25, 2]` for `000…07.0.25`, which is as long as a sentence and stands in every checkpoint four times."""
    if type(version) is not str:
        return version
    match = _LONG.fullmatch(version)
    if match is not None and len(match[1]) < 19 and len(match[2]) < 19:
        short = [int(match[1]), int(match[2]), len(match[2])]
        if whole_version(short) == version:
            return short
    return [version] if _SHORT.fullmatch(version) else version  # somebody else's looks as ours once did


@lru_cache(4096)
def _version(*short: Any) -> Any:
    """As `whole_version`: a version stands in one checkpoint after another."""
    return whole_version([*short])


def whole_version(short: Any) -> Any:
    if type(short) is list:
        return short[0] if len(short) == 1 else f"{short[0]:032}.0.{short[1]:0{short[2]}}"
    match = _SHORT.fullmatch(short) if type(short) is str else None
    return f"{int(match[1]):032}.0.{match[2]}" if match is not None else short


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TICK = timedelta(microseconds=1)


def short_time(ts: Any) -> Any:
    """A time as microseconds since 1970, where that loses nothing."""
    try:
        number = (datetime.fromisoformat(ts) - _EPOCH) // _TICK
        return number if whole_time(number) == ts else ts
    except (TypeError, ValueError, OverflowError):
        return ts


def whole_time(short: Any) -> Any:
    return (_EPOCH + short * _TICK).isoformat() if type(short) is int else short


def _short_id(id: str) -> Any:
    """16 bytes for what is a UUID's usual text."""
    try:
        made = UUID(id)
    except ValueError:
        return id
    return made.bytes if str(made) == id else id


def _whole_id(short: Any) -> str:
    if not isinstance(short, bytes):
        return short
    text = short.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def write_event(
    encoder: Encoder,
    known: Known,
    ns: str,
    checkpoint: str,
    writes: Sequence[tuple[str, Any]],
    task: str,
    path: str,
    number: int,
    node: dict[str, Any] | None,
) -> Change:
    """The event of what one task wrote. A special write has an index of its own (trap: by channel, not by place).

    `node`: what there is to say of the task that wrote it, if that has come to its end. It is a step then.
    """
    forms = [
        encoder.form(ns, "", value, f"write to {channel!r}", ("result",) if channel == RETURN else ("state", channel))
        for channel, value in writes
    ]
    told = {str(place): form for place, form in enumerate(forms) if not is_bare(form)}
    last, _ = known.last.get((encoder.claim, ns), (None, b""))
    kept: dict[str, Any] = {
        "path": path,
        "writes": [
            [WRITES_IDX_MAP.get(channel, place), channel, form if is_bare(form) else None]
            for place, ((channel, _), form) in enumerate(zip(writes, forms, strict=True))
        ],
        "checkpoint": None if checkpoint == last else _short_id(checkpoint),
        "task": _short_id(task),
    }
    result = told.pop("0", None) if node is not None and [channel for channel, _ in writes] == [RETURN] else None
    if result is not None and "v" not in result:
        told["0"], result = result, None
    text = _packed(kept, "write")
    value = {
        **({**node, **({} if "error" in node else {"result": (result or {}).get("v")})} if node is not None else {}),
        **({"ns": ns} if ns else {}),
        "kept": squeezed(text, known.written.get(encoder.claim, b"")),
        **({"values": told} if told else {}),
    }
    known.written[encoder.claim] = text
    if node is None:
        return "write", f"{encoder.claim}.w{number}", value
    return "step", f"g{encoder.claim}/0/{number}#1", value


def is_node(event: Event) -> bool:
    """Whether a step is what `write_event` made of a node's."""
    return b'"kept":' in event.raw and "kept" in value_of(event)


def written_of(text: bytes, value: dict[str, Any]) -> tuple[str | None, str, str, list[Any]]:
    """Checkpoint (None: the one that came last), task, path and writes, from what `write_event` made."""
    kept, told = _unpacked(text), value.get("values") or {}
    writes: list[Any] = [
        [number, channel, form or told.get(str(place)) or {"v": value["result"]}]
        for place, (number, channel, form) in enumerate(kept["writes"])
    ]
    checkpoint = kept["checkpoint"]
    return checkpoint and _whole_id(checkpoint), _whole_id(kept["task"]), kept["path"], writes


def checkpoint_of(stored: Stored, decoder: Decoder, loads: Any) -> dict[str, Any]:
    """The checkpoint as it was put; every dict and list in it is the caller's own."""
    decoder.begin()
    head = stored.head
    names = head["versions"]
    checkpoint: dict[str, Any] = {
        "v": head.get("v"),
        "id": stored.id,
        "ts": whole_time(head.get("ts")),
        "channel_values": {channel: decoder.value(form, channel) for channel, form in stored.forms.items()},
        "channel_versions": dict(stored.versions),
        "versions_seen": {
            node: {channel: names[place] for channel, place in seen.items()} for node, seen in head["seen"].items()
        },
    }
    if "updated_channels" in head:
        updated = head["updated_channels"]
        checkpoint["updated_channels"] = None if updated is None else list(updated)
    if head["more"] is not None:
        checkpoint.update(loads(typed_of(head["more"])))
    return checkpoint
