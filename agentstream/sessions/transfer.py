"""Sessions out into a file, byte for byte, in bounded memory (the form: `exported`; in again: `importing`).

Each session is read twice: what its header says (how many events, which incarnation, their
digest) is known only at the end. Of a family of forks what two share is written once.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from msgspec.structs import replace

from agentstream.errors import AgentStreamError, BlobLost, StoreError
from agentstream.protocol.operations import START, Batch, Read
from agentstream.sessions import codec
from agentstream.sessions.births import declared_birth
from agentstream.sessions.encryption.form import Portable
from agentstream.sessions.events import read_event
from agentstream.sessions.exported import PIECE, BlobHeader, Header, Shares, Tally, line_of, piece_line
from agentstream.sessions.log import locate, missing, open_log
from agentstream.sessions.patience import asked
from agentstream.sessions.references import Ref
from agentstream.sessions.summaries import Entry, with_forks

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.redaction import Redact, Rules

Target = str | os.PathLike[str] | IO[bytes]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote: the sessions in their order, the events that stand in the file, its bytes."""

    sessions: tuple[str, ...]
    events: int
    bytes: int


def export(
    core: Core,
    session: str,
    target: Target,
    *,
    form: str = "jsonl",
    forks: bool = False,
    redact: Redact | str | bool | None = None,
) -> Steps[Exported]:
    """Writes a session, and with `forks` every session that goes on from its history, to a path or a binary file.

    `redact`: without what these rules find (a `Redact`, or by name: `keys`, `MODULE:NAME`; True are the ready rules).
    What is written then is a life of its own. A path is replaced when the export is whole. Raises NotFound, ValueError
    for another form or a name of no rules, NotSerializable for what the rules cannot look into, OSError for a file
    that cannot be written.
    """
    if form != "jsonl":
        raise ValueError(f"an export is written as 'jsonl', not {form!r}")
    told, rules = _rules(core, redact)
    plan = yield from _plan(core, session, forks)
    if rules is not None:
        return (yield from _redacted(core, plan, target, rules, told))
    with _writing(target) as file:
        written, events, parts = 0, 0, []
        blobs: set[str] = set()
        for name, shares in plan:
            header, refs = yield from _measured(core, name, shares)
            written += yield from _blobs_out(core, name, refs, blobs, file)
            written += file.write(header.line())
            written += yield from _copied_out(core, header, file)
            events += header.lines
            parts.append(name)
        return Exported(tuple(parts), events, written)


def _rules(core: Core, redact: Redact | str | bool | None) -> tuple[str, Rules | None]:
    """What the rules are called, and they."""
    from agentstream.sessions.configured import READY, rules_named
    from agentstream.sessions.redaction import Rules

    if redact is None or redact is False:
        return "", None
    told = READY if redact is True else redact if isinstance(redact, str) else "rules"
    return told, Rules(rules_named(redact) if isinstance(redact, str) else redact, core.backend)


def _redacted(
    core: Core, plan: list[tuple[str, Shares | None]], target: Target, rules: Rules, told: str
) -> Steps[Exported]:
    from agentstream.sessions.outgoing import without

    found = yield from without(core, [name for name, _ in plan], rules, told)
    whole = {leaving.session: leaving.messages for leaving in found}
    with _writing(target) as file:
        written, events, done = 0, 0, set[str]()
        for leaving, (_, shares) in zip(found, plan, strict=True):
            if shares is not None:
                n = shares.events
                shares = shares if whole[shares.session][:n] == leaving.messages[:n] else None
            tally = Tally(shares.events if shares is not None else 0)
            for message in leaving.messages[tally.start :]:
                tally.add(message)
            for digest, content in leaving.content.items():
                if digest not in done:
                    done.add(digest)
                    written += file.write(BlobHeader.of(Ref(digest, len(content), "", "")).line())
                    for place in range(0, len(content), PIECE):
                        written += file.write(piece_line(content[place : place + PIECE]))
            written += file.write(tally.header(leaving.session, leaving.sealed, shares).line())
            for message in leaving.messages[tally.start :]:
                written += file.write(line_of(message))
            events += tally.events - tally.start
        return Exported(tuple(leaving.session for leaving in found), events, written)


def _plan(core: Core, session: str, forks: bool) -> Steps[list[tuple[str, Shares | None]]]:
    """The sessions to write, each after the one that it shares most with."""
    if not forks:
        return [(session, None)]
    if not core.backend.traits.lists:
        raise AgentStreamError(
            f"{core.backend.name} cannot list its sessions, so which are forks of {session!r} is not known; "
            "export them one by one"
        )
    family = yield from with_forks(core, session)
    plan: list[tuple[str, Shares | None]] = []
    for n, entry in enumerate(family):
        plan.append((entry.id, (yield from _shared(entry, family[:n]))))
    return plan


def _shared(entry: Entry, written: list[Entry]) -> Steps[Shares | None]:
    """The longest history that a session shares with one that is written before it."""
    candidates = sorted(((_common(entry, other), n) for n, other in enumerate(written)), reverse=True)
    for count, n in candidates:
        # imported twice and gone on with, sessions of one incarnation differ: the last shared event tells
        if count and (yield from _at(entry, count - 1)) == (yield from _at(written[n], count - 1)):
            return Shares(written[n].id, count)
    return None


def _common(entry: Entry, other: Entry) -> int:
    """How many of the first events two sessions share by their births: at most all before the first one's own."""
    same = 0
    for mine, theirs in zip(entry.births, other.births, strict=False):
        if mine != theirs:
            break
        same += 1
    ends = [births[same][0] for births in (entry.births, other.births) if len(births) > same]
    return min([entry.births[-1][0], other.summary.events, *ends]) if same else 0


def _at(entry: Entry, index: int) -> Steps[bytes]:
    batch = yield from asked(Read(entry.listed.path, START, skip=index, limit=1))
    return batch.messages[0] if batch.messages else b""


def _measured(core: Core, session: str, shares: Shares | None) -> Steps[tuple[Header, Iterable[tuple[Ref, int]]]]:
    tally = Tally(shares.events if shares is not None else 0)
    opened = Portable(session)
    sealed = yield from _each(core, session, tally.start, None, tally.add, opened)
    header = tally.header(session, sealed, shares)
    return header, [(replace(ref, at=opened.places.get(ref.sha256)), index) for ref, index in tally.refs.values()]


def _blobs_out(
    core: Core, session: str, refs: Iterable[tuple[Ref, int]], done: set[str], file: IO[bytes]
) -> Steps[int]:
    """Writes the large content that is referred to and is not in the file yet. Raises BlobLost."""
    written = 0
    for ref, index in refs:
        if ref.sha256 in done:
            continue
        done.add(ref.sha256)
        written += file.write(BlobHeader.of(ref).line())
        held = bytearray()
        reading = core.blobs.reading(ref)
        try:
            while (page := (yield from reading.next())) is not None:
                for piece in page:
                    held += piece
                while len(held) >= PIECE:
                    written += file.write(piece_line(bytes(held[:PIECE])))
                    del held[:PIECE]
        except BlobLost as error:
            where = f"session {session!r}, event {index}"
            what = f"{where}: {error}. Nothing was exported"
            raise BlobLost(what, sha256=error.sha256, session=session, index=index) from error
        if held:
            written += file.write(piece_line(bytes(held)))
    return written


def _copied_out(core: Core, header: Header, file: IO[bytes]) -> Steps[int]:
    tally, written = Tally(header.shared), 0

    def copy(message: bytes) -> None:
        nonlocal written
        tally.add(message)
        written += file.write(line_of(message))

    yield from _each(core, header.session, header.shared, header.events, copy)
    if tally.sha256 != header.sha256:
        raise StoreError(
            f"session {header.session!r} was deleted while it was exported, and what was written is of no use; "
            "export it again"
        )
    return written


def _each(
    core: Core,
    session: str,
    start: int,
    stop: int | None,
    take: Callable[[bytes], None],
    opened: Portable | None = None,
) -> Steps[bool]:
    """Gives the messages from `start` to `stop` (the end where None) to `take`; whether the session is sealed."""
    opened = opened or Portable(session)
    sealed = yield from _each_kept(core, session, start, stop, lambda message: take(opened(message)))
    opened.check()
    return sealed


def _each_kept(core: Core, session: str, start: int, stop: int | None, take: Callable[[bytes], None]) -> Steps[bool]:
    found = yield from locate(session)
    if found is None:
        raise missing(session)
    path, batch = found
    if _begins_with_lineage(batch):
        # what a stitched fork shares is read from its source, whole
        log = yield from open_log(session)
        assert log is not None
        for event in log.events[start:stop]:
            take(_portable(core, event.raw))
        return log.closed
    if start and core.backend.traits.skips:
        batch, at = (yield from asked(Read(path, START, skip=start))), start
    else:
        at = 0
    while True:
        for message in batch.messages:
            if at == stop:
                return batch.closed
            if at >= start:
                take(_portable(core, message))
            at += 1
        if batch.up_to_date or batch.closed:
            return batch.closed
        batch = yield from asked(Read(path, batch.offset))


def _begins_with_lineage(batch: Batch) -> bool:
    birth = declared_birth(read_event(batch.messages[0], 0)) if batch.messages else None
    return birth is not None and birth.lineage is not None and birth.lineage.count > 0


def _portable(core: Core, message: bytes) -> bytes:
    """A message without the `headers.offset` that some servers add as they hand it out: it says nothing elsewhere."""
    if core.backend.traits.skips or b'"offset"' not in message:
        return message
    change = codec.loads(message)
    headers = change.get("headers") if isinstance(change, dict) else None
    if not isinstance(headers, dict) or headers.pop("offset", None) is None:
        return message
    return codec.dumps(change)


@contextlib.contextmanager
def _writing(target: Target) -> Iterator[IO[bytes]]:
    """The file to write. One named by its path appears when it is whole; a device or a pipe is written as it is."""
    if isinstance(target, io.TextIOBase):
        raise TypeError("an export is bytes: open the file with 'wb', or give its path")
    if not isinstance(target, (str, os.PathLike)):
        yield target
        return
    path = Path(target).resolve()
    if path.exists() and not path.is_file():
        with open(path, "wb") as file:
            yield file
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with open(descriptor, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
