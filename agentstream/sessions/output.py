"""What a session has said: the text that came piece by piece, and what of it still stands.

An `Output` is a fold over a session's events, one by one as they come: `delta` events add
text, others take text back. What a step said is void once that attempt has failed or a later
one began. What an agent said by itself stands once its lane goes on to a next step: what came
after the last step is said again by whoever resumes the run, and is void from that claim on.
A rewind takes back what came after its cut; a fork voids what an unfinished step had said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from agentstream.sessions import codec
from agentstream.sessions.births import birth_of
from agentstream.sessions.counting import rewound_to
from agentstream.sessions.keys import StepKey
from agentstream.sessions.positions import Position
from agentstream.sessions.steps import field, text

if TYPE_CHECKING:
    from agentstream.sessions.events import Event

_TOLD = frozenset(("delta", "step", "run", "outcome", "claim", "session", "rewind"))
"""The types that say something, or take something back."""

_IGNORED = frozenset(("fenced", "duplicate", "malformed"))

Identity = tuple[str, str, int]


class Piece(msgspec.Struct):
    """Text for one target from one source: the step's attempt (its key), or the place in the agent's lane."""

    target: str
    kind: str
    source: str
    void: bool = False
    name: str | None = None
    """Of arguments: the tool that is called, where its deltas say so; the target is the call's id."""
    message: str | None = None
    """And the message that the call will be a part of."""
    _parts: list[str] = msgspec.field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self._parts)


class Change(msgspec.Struct, frozen=True):
    """What to show: `text` goes behind what `target` has; with `replaces` it is all that target has now."""

    target: str
    kind: str
    text: str
    replaces: bool = False
    name: str | None = None
    message: str | None = None


class Output:
    """What was said up to a cut. `add` the events that come after it, in order, and show the changes it gives back.

    Two outputs that were given the same events are the same, wherever their readers began.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.index = 0
        """How many events it was given: the cut that it stands at."""
        self.position: Position | None = None
        """The same cut, for `follow`; None before the first event."""
        self._kept: list[Event] = []
        self._rewinds: dict[int, int] = {}
        self._told = _Told()
        for event in events:
            self.add(event)

    @property
    def pieces(self) -> list[Piece]:
        """Everything that was said, in the order in which it began; `void` where it does not stand any more."""
        return list(self._told.pieces.values())

    @property
    def texts(self) -> dict[str, str]:
        """The text of each target that stands (of kind "text")."""
        return self.of_kind("text")

    @property
    def text(self) -> str:
        """All text that stands, in the order in which it began."""
        return "".join(piece.text for piece in self.pieces if piece.kind == "text" and not piece.void)

    def of_kind(self, kind: str) -> dict[str, str]:
        """As `texts`, of another kind: "reasoning", "args"."""
        found: dict[str, list[str]] = {}
        for piece in self._told.pieces.values():
            if piece.kind == kind and not piece.void:
                found.setdefault(piece.target, []).append(piece.text)
        return {target: "".join(parts) for target, parts in found.items()}

    def add(self, event: Event) -> list[Change]:
        """Takes the next event and says what to show differently; [] for most. ValueError if it is not the next."""
        if event.index != self.index:
            raise ValueError(f"an output is given every event in order: the next is {self.index}, not {event.index}")
        self.index, self.position = event.index + 1, event.position
        if event.type not in _TOLD or event.mark in _IGNORED:
            return []
        if event.type != "rewind":
            self._kept.append(event)
            return self._told.add(event)
        self._rewinds[event.index] = min(rewound_to(event), event.index)
        return self._tell_again()

    def _tell_again(self) -> list[Change]:
        """After a rewind: what stands of all that was said."""
        before = self._told
        self._told = _Told()
        spans = list(standing(self._rewinds, self.index - 1))
        for event in self._kept:
            stays = event.type in ("claim", "session")
            if stays or any(low <= event.index <= high for low, high in spans):
                self._told.add(event)
        named = {(piece.target, piece.kind): None for told in (before, self._told) for piece in told.pieces.values()}
        return [
            Change(*name, self._told.standing(*name), True)
            for name in named
            if before.standing(*name) != self._told.standing(*name)
        ]


def standing(rewinds: dict[int, int], last: int) -> Iterator[tuple[int, int]]:
    """The events on the way from the last one to the root, as ranges: a rewind goes on from before where it went to."""
    place = last
    while place >= 0:
        rewind = max((index for index in rewinds if index <= place), default=-1)
        yield rewind + 1, place
        place = rewinds[rewind] - 1 if rewind >= 0 else -1


class _Told:
    """What a history without rewinds has said."""

    def __init__(self) -> None:
        self.pieces: dict[tuple[str, str, str], Piece] = {}
        self._of: dict[tuple[str, str], list[Piece]] = {}
        """The pieces of each target and kind."""
        self._from: dict[str, list[Piece]] = {}
        """The pieces of each source that stand."""
        self._attempts: dict[Identity, str] = {}
        """Of each step and child run that was begun, the last attempt."""
        self._settled: dict[Identity, str] = {}
        """Of those that are in the record for good (an attempt has its outcome, or it is a child run), the last."""
        self._unfinished: dict[str, Identity] = {}
        self._open: dict[str, Identity] = {}
        """The sources in agents' lanes, and the step that would come next there."""

    def standing(self, target: str, kind: str) -> str:
        return "".join(piece.text for piece in self._of.get((target, kind), ()) if not piece.void)

    def add(self, event: Event) -> list[Change]:
        if event.type == "delta":
            return self._delta(event)
        if event.type in ("step", "run"):
            return self._begun(event)
        if event.type == "outcome":
            return self._ended(event)
        return self._claimed(event) if event.type == "claim" else self._born(event)

    def _delta(self, event: Event) -> list[Change]:
        target, kind, said = text(event, "target"), text(event, "kind", "text"), field(event, "text")
        said = said if isinstance(said, str) else codec.decode(said)
        if not isinstance(said, str):
            return []
        source = event.key.rpartition("/")[0]
        name = (source, target, kind)
        piece = self.pieces.get(name)
        if piece is None:
            piece = self.pieces[name] = Piece(target, kind, source)
            self._of.setdefault((target, kind), []).append(piece)
            self._from.setdefault(source, []).append(piece)
            self._place(source)
        piece._parts.append(said)
        piece.name = piece.name or text(event, "name") or None
        piece.message = piece.message or text(event, "message") or None
        if piece.void:
            return []
        if self._of[target, kind][-1] is not piece:  # two write to one target at once: each is whole
            return [Change(target, kind, self.standing(target, kind), True, piece.name, piece.message)]
        return [Change(target, kind, said, False, piece.name, piece.message)]

    def _place(self, source: str) -> None:
        place, tilde, _ = source.rpartition("~")
        next_step = StepKey.parse(place) if tilde else None
        if next_step is not None and next_step.identity not in self._attempts:
            self._open[source] = next_step.identity

    def _begun(self, event: Event) -> list[Change]:
        key = StepKey.parse(event.key)
        return self._attempt(key, event) if key is not None else []

    def _attempt(self, key: StepKey, event: Event) -> list[Change]:
        before = self._attempts.get(key.identity)
        if before == event.key:
            return []
        self._attempts[key.identity] = event.key
        if event.type == "step":
            self._unfinished[event.key] = key.identity
        else:
            self._settled[key.identity] = event.key
        return self._void(before) if before is not None else []

    def _ended(self, event: Event) -> list[Change]:
        key = StepKey.parse(event.key)
        if key is None:
            return []
        changes = self._attempt(key, event)
        self._unfinished.pop(event.key, None)
        self._settled[key.identity] = event.key
        return changes + self._void(event.key) if field(event, "error") is not None else changes

    def _claimed(self, event: Event) -> list[Change]:
        """A run that goes on says again what came after the last step of each of its lanes."""
        run = text(event, "run")
        changes: list[Change] = []
        for source, identity in list(self._open.items()):
            if identity in self._settled:
                del self._open[source]
            elif identity not in self._attempts and (identity[0] == run or identity[0].startswith(f"{run}/")):
                del self._open[source]
                changes += self._void(source)
        return changes

    def _born(self, event: Event) -> list[Change]:
        """A fork: the steps that are unfinished at its cut count as never begun."""
        birth = birth_of(event)
        if birth is None or birth.lineage is None:
            return []
        changes: list[Change] = []
        for key, identity in self._unfinished.items():
            if identity in self._settled:
                self._attempts[identity] = self._settled[identity]
            else:
                self._attempts.pop(identity, None)
            changes += self._void(key)
        self._unfinished.clear()
        return changes

    def _void(self, source: str) -> list[Change]:
        changes: list[Change] = []
        for piece in self._from.pop(source, ()):
            if not piece.void:
                piece.void = True
                changes.append(Change(piece.target, piece.kind, self.standing(piece.target, piece.kind), True))
        return changes
