"""Two sessions beside each other: which steps they share, and what of the others differs.

Steps are the same if they asked the same (kind, name, fingerprint of the input). They are
aligned as lines of two texts are; what is left between equal ones is paired by kind and
name, in order: such a pair asked something else. What came of two model calls is what was
said, where the replies themselves are kept as blocks of bytes: ids and times that a
provider draws make no difference. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from agentstream.sessions.codec import canonical
from agentstream.sessions.diff import diff, first_path
from agentstream.sessions.fingerprints import shape_of

if TYPE_CHECKING:
    from agentstream.sessions.events import Event
    from agentstream.sessions.state import State
    from agentstream.sessions.steps import Step

T = TypeVar("T")

Kind = Literal["same", "different_args", "different_output", "missing_call", "extra_call"]
"""How two steps compare, in the words of a divergence; a missing call is on the left alone, an extra one on the right.
"""


class Pair(msgspec.Struct, frozen=True):
    """A step of the left session, of the right one, or one of each that belong together; numbers as `step:N`.

    `left_said` and `right_said` are the messages that they said, `sides` what is compared of them.
    """

    kind: Kind
    left: Step | None = None
    right: Step | None = None
    left_number: int | None = None
    right_number: int | None = None
    left_said: tuple[Event, ...] = ()
    right_said: tuple[Event, ...] = ()

    @property
    def step(self) -> Step:
        found = self.left or self.right
        assert found is not None
        return found

    @property
    def changes(self) -> list[dict[str, Any]]:
        """What differs, in the operations of RFC 6902 from left to right, over `{"input", "outcome"}`."""
        return diff(*self.sides) if self.left is not None and self.right is not None else []

    @property
    def path(self) -> str:
        """The first difference: `outcome.result.amount`; empty for a step that has no partner."""
        return first_path(*self.sides) if self.left is not None and self.right is not None else ""

    @property
    def sides(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Input and outcome of both, as they are compared; None for the one that is not there."""
        if self.left is None or self.right is None:
            return self.left and told(self.left), self.right and told(self.right)
        return _beside(told(self.left), self.left_said, told(self.right), self.right_said)


class Compared(msgspec.Struct, frozen=True):
    """Two sessions' steps, aligned."""

    pairs: tuple[Pair, ...]

    @property
    def identical(self) -> bool:
        return self.first is None

    @property
    def first(self) -> Pair | None:
        """The first pair that is not the same."""
        return next((pair for pair in self.pairs if pair.kind != "same"), None)


def told(step: Step) -> dict[str, Any]:
    """A step's input and outcome, as they are stored, for comparing."""
    outcome: dict[str, Any] = {"status": step.status}
    if step.error is not None:
        outcome["error"] = {name: step.error.get(name) for name in ("name", "text")}
    elif step.outcome is not None:
        outcome["result"] = step.stored_result
    return {"input": step.stored_input, "outcome": outcome}


def compare_steps(left: State, right: State) -> Compared:
    """The steps of two sessions, aligned, in the order of both."""
    return Compared(tuple(_pairs(left, right)))


def _pairs(left: State, right: State) -> Iterator[Pair]:
    ours, theirs = _said_in(left), _said_in(right)
    for a, b in aligned(left.steps, right.steps, _asked, _called):
        one = left.steps[a] if a is not None else None
        other = right.steps[b] if b is not None else None
        said = (tuple(ours.get(one.key, ())) if one else (), tuple(theirs.get(other.key, ())) if other else ())
        pair = Pair("same", one, other, a, b, *said)
        yield replace(pair, kind=_kind(pair))


def _kind(pair: Pair) -> Kind:
    left, right = pair.left, pair.right
    if left is None:
        return "extra_call"
    if right is None:
        return "missing_call"
    if left.last.start.raw == right.last.start.raw and _raw(left) == _raw(right):
        return "same"  # the very events, which a fork shares
    if _asked(left) != _asked(right):
        return "different_args"
    ours, theirs = (side["outcome"] if side is not None else None for side in pair.sides)
    return "same" if canonical(ours) == canonical(theirs) else "different_output"


def _said_in(state: State) -> dict[str, list[Event]]:
    """The messages that steps said, by the key of each step."""
    said: dict[str, list[Event]] = {}
    for event in state.of_type("message"):
        if event.claim is not None:
            said.setdefault(event.key.rpartition("/")[0], []).append(event)
    return said


def _beside(
    left: dict[str, Any], left_said: Sequence[Event], right: dict[str, Any], right_said: Sequence[Event]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """By what they said, where both did and both replies are blocks of bytes; else as they are."""
    ours, theirs = _without_block(left["outcome"]), _without_block(right["outcome"])
    if not (left_said and right_said and ours is not None and theirs is not None):
        return left, right
    ours["said"] = [_without_id(event.value) for event in left_said]
    theirs["said"] = [_without_id(event.value) for event in right_said]
    return {**left, "outcome": ours}, {**right, "outcome": theirs}


def _without_block(outcome: dict[str, Any]) -> dict[str, Any] | None:
    """An outcome without the bytes in its result, and the texts that those are unpacked by; None where it has none."""
    result = outcome.get("result")
    if not isinstance(result, dict):
        return None
    rest = {name: part for name, part in result.items() if not _is_bytes(part)}
    if len(rest) == len(result):
        return None
    rest.pop("texts", None)
    return {**outcome, "result": rest}


def _is_bytes(part: Any) -> bool:
    return isinstance(part, dict) and part.keys() == {"$bytes"}


def _raw(step: Step) -> bytes | None:
    return step.outcome.raw if step.outcome is not None else None


def _called(step: Step) -> Hashable:
    return step.kind, step.name


def _asked(step: Step) -> Hashable:
    return step.kind, step.name, shape_of(step.fingerprint)


def aligned(left: Sequence[T], right: Sequence[T], same: Any, alike: Any) -> Iterator[tuple[int | None, int | None]]:
    """Index pairs of two sequences: those whose `same(x)` agree, aligned as a text's lines are; between them those
    whose `alike(x)` agree, in order; the others alone."""
    ours, theirs = [same(each) for each in left], [same(each) for each in right]
    start = 0
    while start < min(len(ours), len(theirs)) and ours[start] == theirs[start]:
        yield start, start
        start += 1
    matcher = SequenceMatcher(None, ours[start:], theirs[start:], autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        first, second = range(a1 + start, a2 + start), range(b1 + start, b2 + start)
        if tag == "equal":
            yield from zip(first, second, strict=True)
        else:
            yield from _between(first, second, [alike(left[n]) for n in first], [alike(right[n]) for n in second])


def _between(
    left: Sequence[int], right: Sequence[int], ours: list[Hashable], theirs: list[Hashable]
) -> Iterator[tuple[int | None, int | None]]:
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag == "equal":
            yield from zip(left[a1:a2], right[b1:b2], strict=True)
        else:
            yield from ((n, None) for n in left[a1:a2])
            yield from ((None, n) for n in right[b1:b2])


# --- messages --------------------------------------------------------------------------------------------------------


class Said(msgspec.Struct, frozen=True):
    """A message of the left session, of the right one, or one of each in the same place. Numbers count messages."""

    kind: Literal["same", "changed", "removed", "added"]
    left: dict[str, Any] | None = None
    right: dict[str, Any] | None = None
    left_number: int | None = None
    right_number: int | None = None

    @property
    def changes(self) -> list[dict[str, Any]]:
        return diff(self.left, self.right) if self.left is not None and self.right is not None else []


def compare_messages(left: State, right: State) -> list[Said]:
    """The messages of two sessions, aligned. Ids that providers draw (`id`) count for nothing."""
    ours, theirs = ([_without_id(message) for message in state.messages] for state in (left, right))
    found: list[Said] = []
    for a, b in aligned(ours, theirs, canonical, lambda message: message.get("role")):
        one = ours[a] if a is not None else None
        other = theirs[b] if b is not None else None
        kind = "added" if one is None else "removed" if other is None else "changed"
        same = one is not None and other is not None and canonical(one) == canonical(other)
        found.append(Said("same" if same else kind, one, other, a, b))
    return found


def _without_id(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        return {"value": message}
    return {name: value for name, value in message.items() if name != "id"}
