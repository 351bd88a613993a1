"""A session in one HTML file that opens without a server: the page, with the documents that it would ask for inside.

The file's own Content-Security-Policy lets its script and its style run, by their hashes, and nothing else: it asks
nobody, whatever is in the record. The record stands in a block of JSON in which nothing ends the block.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from typing import TYPE_CHECKING, Any

from agentstream.errors import Locked, StoreError
from agentstream.inspector.documents import SCHEMA
from agentstream.inspector.documents.compared import pair_document, steps_document
from agentstream.inspector.documents.cutting import EXPORTED
from agentstream.inspector.documents.details import Details, raw_document
from agentstream.inspector.documents.listing import summary_document
from agentstream.inspector.documents.messages import conversation_document
from agentstream.inspector.documents.states import state_document
from agentstream.inspector.files import FOLDER
from agentstream.inspector.held import Told
from agentstream.inspector.requests import encoded
from agentstream.sessions.catalog import status_of
from agentstream.sessions.redaction import Redact, Rules
from agentstream.sessions.search import Query, sessions
from agentstream.sessions.views.opening import seen
from agentstream.sessions.views.redacting import redacted
from agentstream.sessions.views.tree import Branch, family, nested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstream.backends.driving import Steps
    from agentstream.sessions.catalog import Summary
    from agentstream.sessions.core import Core
    from agentstream.sessions.prices import Prices
    from agentstream.sessions.state import State

STATES = 400
"""Cuts whose state is in the file, at most: of longer sessions every n-th, and those of very long ones are fewer."""
WORK = 200_000
"""Events folded for them, at most, in all."""
PAIRS = 2_000
"""Pairs of two sessions' steps that are in the file whole."""

_SCRIPT = re.compile(r'<script type="module"[^>]*src="([^"]+)"></script>')
_STYLE = re.compile(r'<link rel="stylesheet"[^>]*href="([^"]+)">')


def embedded_documents(
    core: Core, session: str, prices: Prices, *, at: int | None, forks: bool, redact: Redact | None = None
) -> Steps[dict[str, Any]]:
    """What the page reads in such a file. With `forks` also the sessions below this one, each compared with what it was
    forked from. `at`: only its first events. NotFound."""
    from agentstream import __version__

    lists = core.backend.traits.lists or core.backend.traits.catalogs
    try:
        roots = (yield from family(core, session, prices)) if lists else []
    except (Locked, StoreError):  # of events that cannot be opened the file says so
        if forks:
            raise
        roots = []
    below = _find(roots, session)
    names = [branch.id for branch in _walk(below)] if forks and below is not None else [session]
    found: dict[str, Told] = {}
    for name in names:
        state, sealed = yield from seen(core, name)
        state = state.cut(at) if at is not None and name == session else state
        alive = status_of(state) != "abandoned"
        if redact is not None:
            state = yield from redacted(core, state, Rules(redact, core.backend), alive=alive)
        found[name] = Told(state, prices, sealed=sealed, alive=alive)
        found[name].make_all()
    summaries = (yield from sessions(core, Query())) if lists else []
    return {
        "schema": SCHEMA,
        "about": {
            "schema": SCHEMA,
            "version": __version__,
            "store": core.backend.name if "://" in core.backend.name else "",
            "readOnly": True,
            "embedded": True,
            "exported": round(time.time() * 1000),
            "lists": True,
            "start": {"session": session, "at": None},
        },
        "sessions": {
            "sessions": [_summary(each, found[each.id]) for each in summaries if each.id in found],
            "total": len(found),
            "agents": sorted({each.agent for each in summaries if each.id in found and each.agent}),
            "counts": {},
        },
        "tree": {"roots": [nested(below, 0, None if forks else 0)]} if below is not None else None,
        "data": {name: _session(told, below) for name, told in found.items()},
        "compare": {
            f"{source}|{name}": _compared(found[source].readable(), told.readable())
            for name, told in found.items()
            if (lineage := told.state.lineage) is not None and (source := lineage.source) in found
        },
    }


def _summary(summary: Summary, told: Told) -> dict[str, Any]:
    """A session of the list as the file has it: at the cut that was asked for, and without what was taken out."""
    head = told.head()
    names = ("title", "tags", "events", "status", "cost", "input_tokens", "output_tokens")
    return {**summary_document(summary, told.prices), **{name: head[name] for name in names}}


def _session(told: Told, below: Branch | None) -> dict[str, Any]:
    branch = _find([below] if below is not None else [], told.state.session)
    forks = [each for each in branch.below if each.at is not None] if branch is not None else []
    told.set_forks({at: sum(each.at == at for each in forks) for each in forks if (at := each.at) is not None})
    details = Details(told, [{"id": f.id, "at": f.at, "status": f.state.status} for f in forks], EXPORTED)
    steps: dict[int, Any] = {}
    runs: dict[str, Any] = {}
    events: list[dict[str, Any]] = []
    for index, event in enumerate(told.events):
        document = details.of(index)
        del document["row"]
        if document["step"] is not None:
            number = document["step"]["number"]
            if steps.setdefault(number, document["step"]) == document["step"]:  # not of an earlier attempt
                document["step"] = number
        if document["run"] is not None:
            runs.setdefault(document["run"]["id"], document["run"])
            document["run"] = document["run"]["id"]
        document["raw"] = raw_document(event, 1_000_000)
        events.append(document)
    open_until = min([told.size, *told.refused])
    return {
        "lines": [{"head": told.head()}, *told.rows, {"ready": told.size}],
        "events": events,
        "steps": [steps.get(number) for number in range(max(steps, default=-1) + 1)],
        "runs": runs,
        "states": {str(cut): state_document(told.state.cut(cut), told.prices) for cut in kept_cuts(open_until)},
        "conversation": conversation_document(told.state.cut(open_until), limits=EXPORTED),
    }


def kept_cuts(size: int) -> Sequence[int]:
    """The cuts of a session of so many events whose state is in the file: the start, the end, and some between."""
    wanted = min(STATES, max(WORK // max(size, 1), 8))
    step = max(-(-size // wanted), 1)
    return sorted({*range(0, size, step), size})


def _compared(left: State, right: State) -> dict[str, Any]:
    document = steps_document(left, right)
    differing = [number for number, row in enumerate(document["pairs"]) if row[0] != "same"]
    shown = differing[:PAIRS]
    return {
        **document,
        "told": {str(number): pair_document(left, right, "steps", number, EXPORTED) for number in shown},
    }


def _walk(branch: Branch) -> Sequence[Branch]:
    return [branch, *(each for child in branch.below for each in _walk(child))]


def _find(branches: Sequence[Branch], name: str) -> Branch | None:
    return next((each for branch in branches for each in _walk(branch) if each.id == name), None)


# --- one file --------------------------------------------------------------------------------------------------------


def read_page() -> str:
    """The page with its script and style put in, and a policy by which these run and nothing else does.

    FileNotFoundError where this installation has no page.
    """
    text = (FOLDER / "index.html").read_text("utf-8")
    script, style = _one(_SCRIPT, text), _one(_STYLE, text)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />'
    # by functions: a replacement text would have its backslashes read
    text = _STYLE.sub(lambda _: f"<style>{style}</style>", text)
    text = _SCRIPT.sub("", text)
    text = text.replace("<head>", f"<head>\n    {meta}", 1)
    return text.replace("</body>", f'{_DATA}\n    <script type="module">{script}</script>\n  </body>', 1)


_DATA = "<!--data-->"


def page_with(page: str, documents: dict[str, Any]) -> bytes:
    """The page with documents in it."""
    data = encoded(documents)
    for harmful, harmless in ((b"<", b"\\u003c"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029")):
        data = data.replace(harmful, harmless)
    before, _, after = page.partition(_DATA)
    block = b'<script type="application/json" id="agentstream-data">' + data + b"</script>"
    return before.encode() + block + after.encode()


def _one(pattern: re.Pattern[str], text: str) -> str:
    """The content of the file that the page names once."""
    found = pattern.findall(text)
    if len(found) != 1:
        raise ValueError(f"the built page names {len(found)} files by {pattern.pattern}, and one is expected")
    return (FOLDER / found[0].lstrip("/")).read_text("utf-8")


def _hash(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"
