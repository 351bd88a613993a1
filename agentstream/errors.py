"""Every error agentstream raises, in one hierarchy.

A message says what happened, where (session, position), and what to do. Errors of
the wire (a 404, a stale epoch) live in `agentstream.protocol.errors` and reach users
only as one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class AgentStreamError(Exception):
    """The root: catch this to catch everything this library raises on purpose."""


class StoreError(AgentStreamError):
    """The place that keeps streams failed: disk full, damaged file, no permission, a newer format."""


class Unavailable(StoreError):
    """The store could not be reached or did not answer; nothing is known to be lost. Try again."""


class Unauthorized(StoreError):
    """The server did not accept who asks: a token is missing, wrong, or good for other sessions."""


class BlobLost(StoreError):
    """A large value or an attachment that a record refers to is gone or damaged; the rest of the record is as it was.

    `sha256` names the content; `session` and `index` the event that refers to it, where one was asked for it.
    """

    def __init__(self, message: str, *, sha256: str, session: str | None = None, index: int | None = None) -> None:
        super().__init__(message)
        self.sha256 = sha256
        self.session = session
        self.index = index


class ProducerConflict(AgentStreamError):
    """Another process writes to a stream under the same producer id and epoch; what this one appended is not there."""


class NotFound(AgentStreamError):
    """No such session, stream, run, step or position."""


class SessionExists(AgentStreamError):
    """A session of this id is already there (fork and import never overwrite one)."""


class SessionBusy(AgentStreamError):
    """Another live worker holds the session's lease; `with_options(take_over=True)` fences it off."""


class RunPending(AgentStreamError):
    """An open run of another agent or other arguments is in the way.

    `run` is its id, `agent` its name, `arguments` the recorded call. Go on with
    `session.resume(fn)`, or end it with `session.cancel()`.
    """

    def __init__(self, message: str, *, run: str, agent: str, arguments: Any) -> None:
        super().__init__(message)
        self.run = run
        self.agent = agent
        self.arguments = arguments


class RunWaiting(AgentStreamError):
    """The run waits, and no process with it. `questions` are the open ones; `until` is when it goes on by itself."""

    def __init__(self, message: str, *, questions: Sequence[Any] = (), until: datetime | None = None) -> None:
        super().__init__(message)
        self.questions = tuple(questions)
        self.until = until


class AnswerRefused(AgentStreamError):
    """An answer does not count. `reason`: "invalid" (another form than asked for), "late" (the run does not wait any
    more), "double" (the question has its answer) or "expired"."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class QuestionExpired(AgentStreamError):
    """Nobody answered a question in time; `question` is its key."""

    def __init__(self, message: str, *, question: str) -> None:
        super().__init__(message)
        self.question = question


class Denied(AgentStreamError):
    """A person did not approve of a step, which was not made; `reason` is what they said, if anything."""

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class Interrupted(AgentStreamError):
    """A message that asks to interrupt came while an interruptible block ran; `inbox()` gives the message."""


class RunExhausted(AgentStreamError):
    """The run was begun too often without getting a single step further; cancel it or raise `max_attempts`."""


class RunCancelled(AgentStreamError):
    """The run with this `run_id` was cancelled."""


class Fenced(AgentStreamError):
    """Another worker took the session over; what this one did since is not part of it."""


class Diverged(AgentStreamError):
    """Code and journal disagree; `divergence` says where and how. Nothing was run for the differing call."""

    def __init__(self, message: str, *, divergence: Any = None) -> None:
        super().__init__(message)
        self.divergence = divergence


class OutcomeUnknown(AgentStreamError):
    """An `effect="once"` step was begun and never answered; `step` is its key.

    `session.resolve(step, …)` says what came of it.
    """

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message)
        self.step = step


class NotSerializable(AgentStreamError, TypeError):
    """A value has no JSON form; the message names its path. Pass another value or give the step a `key=`."""


class InvalidExport(AgentStreamError):
    """A file is no export of sessions, or is torn or edited; the message names the line. Nothing was imported."""


class Locked(AgentStreamError):
    """What is asked for is encrypted and cannot be opened here. `reason`: "no key" (the client was given none), "wrong"
    (another key than those given), "missing" (the session's key is not in this store) or "erased"."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Erased(Locked):
    """The session was erased, and nobody can read it any more. `at` is when."""

    def __init__(self, message: str, *, at: datetime | None = None) -> None:
        super().__init__(message, reason="erased")
        self.at = at


class SubscriptionError(AgentStreamError):
    """A server refuses what is asked of a subscription. `code` is the protocol's: "FENCED" for a wake that is somebody
    else's by now, "SUBSCRIPTION_ALREADY_EXISTS" for one of another configuration, "NOT_SUPPORTED", "SIGNATURE_INVALID"
    for a webhook that the server did not sign, …; `holder` is who has claimed the wake, where it says so."""

    def __init__(self, message: str, *, code: str, holder: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.holder = holder


class ReplayOffline(AgentStreamError):
    """Replay reached a call that is not in the record; offline replay never makes one."""


class ReplayedError(AgentStreamError):
    """A recorded error, raised again. `name`, `text` and `fields` are what was recorded of the original."""

    name: str = ""
    text: str = ""
    fields: dict[str, Any]

    def __init__(self, text: str = "", *, name: str = "", fields: dict[str, Any] | None = None) -> None:
        super().__init__(f"{name}: {text}" if name else text)
        self.name = name
        self.text = text
        self.fields = fields or {}
