"""Checkpoints and writes as events, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage]

from agentstream.adapters import Change, decode, encode
from agentstream_langgraph._forms import Form, form_of, squeezed, typed_of
from agentstream_langgraph._serializing import Dumps, dumped

if TYPE_CHECKING:
    from agentstream_langgraph._index import Stored
    from agentstream_langgraph._lists import Decoder, Encoder, Known

HEAD = ("v", "ts", "updated_channels")
_COMPACT: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}
_NAMED = frozenset((*HEAD, "id", "channel_values", "channel_versions", "versions_seen"))


def checkpoint_event(
    encoder: Encoder,
    dumps: Dumps,
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
            forms[channel] = encoder.form(ns, channel, value, f"channel {channel!r}")
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

    head = {name: checkpoint[name] for name in HEAD if name in checkpoint}
    head["channels"] = {channel: place(version) for channel, version in versions.items()}
    head["seen"] = {
        node: {channel: place(version) for channel, version in seen.items()}
        for node, seen in checkpoint["versions_seen"].items()
    }
    head["versions"] = names
    head["metadata"] = form_of(dumped(dumps, metadata, "metadata"))
    head["gone"] = gone
    more = {name: value for name, value in checkpoint.items() if name not in _NAMED}
    delta = set(metadata.get("counters_since_delta_snapshot") or ())
    delta |= {channel for channel, value in values.items() if isinstance(value, _DeltaSnapshot)}
    head["more"] = form_of(dumped(dumps, more, "checkpoint")) if any(more.values()) else None
    head["source"] = metadata.get("source") if isinstance(metadata.get("source"), str) else None
    last, before = known.last.get((encoder.claim, ns), (None, b""))
    follows = parent == last
    text = json.dumps(encode(head, where="checkpoint").data, **_COMPACT).encode()
    known.last[encoder.claim, ns] = (checkpoint["id"], text)
    value: dict[str, Any] = {
        **({"ns": ns} if ns else {}),
        **({} if follows else {"parent": parent}),
        **{name: metadata[name] for name in ("source", "step") if type(metadata.get(name)) in (str, int)},
        "head": squeezed(text, before if follows else b""),
        **({"values": forms} if forms else {}),
        **({"delta": sorted(delta)} if delta else {}),
    }
    return "checkpoint", f"{checkpoint['id']}#{number}", value


def head_of(text: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a checkpoint's head tells of it, and the versions of the channels."""
    head = decode(json.loads(text))
    names = [whole_version(name) for name in head.pop("versions")]
    versions = {channel: names[place] for channel, place in head.pop("channels").items()}
    head["seen"] = {
        node: {channel: names[place] for channel, place in seen.items()} for node, seen in head["seen"].items()
    }
    return head, versions


_LONG = re.compile(r"0*(\d+)\.0\.(\d+)", re.ASCII)
_SHORT = re.compile(r"(\d+)~(\d+)", re.ASCII)


def short_version(version: Any) -> Any:
    """`7~25` for `000…07.0.25`, which is as long as a sentence and stands in every checkpoint four times."""
    if type(version) is not str:
        return version
    match = _LONG.fullmatch(version)
    short = f"{match[1]}~{match[2]}" if match is not None else version
    if match is not None and whole_version(short) == version:
        return short
    return [version] if _SHORT.fullmatch(version) else version  # somebody else's looks like ours


def whole_version(short: Any) -> Any:
    if type(short) is list:
        return short[0]
    match = _SHORT.fullmatch(short) if type(short) is str else None
    return f"{int(match[1]):032}.0.{match[2]}" if match is not None else short


def write_event(
    encoder: Encoder,
    known: Known,
    ns: str,
    checkpoint: str,
    writes: Sequence[tuple[str, Any]],
    task: str,
    path: str,
    number: str,
) -> Change:
    """The event of what one task wrote. A special write has an index of its own (trap: by channel, not by place)."""
    told = [
        [WRITES_IDX_MAP.get(channel, place), channel, encoder.form(ns, "", value, f"write to {channel!r}")]
        for place, (channel, value) in enumerate(writes)
    ]
    value = {
        **({"ns": ns} if ns else {}),
        **({} if known.last.get((encoder.claim, ns), ("",))[0] == checkpoint else {"checkpoint": checkpoint}),
        "task": task,
        **({"path": path} if path else {}),
        "writes": told,
    }
    return "write", number, value


def checkpoint_of(stored: Stored, decoder: Decoder, loads: Any) -> dict[str, Any]:
    """The checkpoint as it was put; every dict and list in it is the caller's own."""
    decoder.begin()
    head = stored.head
    checkpoint: dict[str, Any] = {
        "v": head.get("v"),
        "id": stored.id,
        "ts": head.get("ts"),
        "channel_values": {channel: decoder.value(form, channel) for channel, form in stored.forms.items()},
        "channel_versions": dict(stored.versions),
        "versions_seen": {node: dict(seen) for node, seen in head["seen"].items()},
    }
    if "updated_channels" in head:
        updated = head["updated_channels"]
        checkpoint["updated_channels"] = None if updated is None else list(updated)
    if head["more"] is not None:
        checkpoint.update(loads(typed_of(head["more"])))
    return checkpoint
