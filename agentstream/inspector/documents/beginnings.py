"""The beginning of values that are kept apart from their event (over 256 KB): enough to see what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.errors import AgentStreamError
from agentstream.inspector.documents.cutting import SHOWN, at_pointer
from agentstream.sessions.attachments import Attachment
from agentstream.sessions.references import JSON, TEXT, ref_in

if TYPE_CHECKING:
    from agentstream.sessions.blobs import Blobs

MOST = 8
"""Values of one event whose beginning is read."""


def add_beginnings(document: dict[str, Any], blobs: Blobs) -> None:
    """Tells in the cuts of an event's document how the values begin that it names only: `begins`. Reads the store."""
    for place in ("value", "step", "run"):
        told = document if place == "value" else document[place]
        cuts = [cut for cut in told["cuts"] if cut["kind"] == "blob"] if told is not None else []
        for cut in cuts[:MOST]:
            ref = ref_in(at_pointer(document[place], cut["path"]))
            if ref is None or ref.encoding not in (TEXT, JSON):
                continue
            try:
                piece = next(Attachment(ref, blobs).chunks(), b"")
            except AgentStreamError:
                continue  # whoever asks for the whole is told why it cannot be had
            cut["begins"] = piece[: SHOWN.text].decode("utf-8", "ignore")
            cut["shown"] = len(cut["begins"])
