"""Finding what the user means: the store, the session by the beginning of its id, the place in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentstream.cli.failures import Ambiguous, Missing, UsageError, refusing_arguments
from agentstream.cli.positions import GRAMMAR, Place, read_exact, read_place

if TYPE_CHECKING:
    from agentstream import Client, Session
    from agentstream.sessions.state import State

SHOWN_MATCHES = 10


@contextmanager
def opened_client(url: str | None) -> Iterator[Client]:
    """The client for `--url`. Unlike the library's own it never makes a store: looking must not leave one behind."""
    from agentstream.client import nearest_folder

    hint = "an agent's first run makes one; name another with --url or $AGENTSTREAM_URL"
    address = url if url is not None else os.environ.get("AGENTSTREAM_URL") or None
    if address == "memory:":
        raise UsageError("memory: is inside another process; there is nothing to see in this one", hint=hint)
    if address is None and not nearest_folder().is_dir():
        raise Missing(f"there is no .agentstream folder in {Path.cwd()} or above", hint=hint)
    with made_client(address) as client:
        if "://" not in client.name and not (Path(client.name) / _file_name()).is_file():
            raise Missing(f"there is no store at {client.name}", hint=hint)
        yield client


def made_client(address: str | None) -> Client:
    """The client of an address. A server is told `$AGENTSTREAM_AUTH`: a token, or a whole Authorization header."""
    from agentstream import Client

    auth = os.environ.get("AGENTSTREAM_AUTH")
    with refusing_arguments():
        if not auth or not (address or "").startswith(("http://", "https://")):
            return Client(address)
        return Client(address, headers={"authorization": auth if " " in auth else f"Bearer {auth}"})


def _file_name() -> str:
    from agentstream.backends.embedded.connections import FILE

    return FILE


# --- which session ---------------------------------------------------------------------------------------------------


def find_session(client: Client, text: str) -> Session:
    """The session of this id, or the only one whose id begins so. `Missing` or `Ambiguous`."""
    found = _matching(client, text)
    if found is None:
        raise Missing(f"there is no session {text!r} in {client.name}", hint="agentstream list")
    return client.session(found)


def exact_session(client: Client, text: str) -> Session:
    """The session of this whole id: for what cannot be undone. `Missing`."""
    with refusing_arguments():
        session = client.session(text)
    if not _is_id(client, text):
        raise Missing(f"there is no session {text!r} in {client.name}", hint="agentstream list; a whole id is needed")
    return session


def find_target(client: Client, text: str) -> tuple[Session, Place | None]:
    """`SESSION` or `SESSION@POS`. An id that holds an @ itself is taken as it is if there is such a session."""
    exact = read_exact(text)
    if exact is not None:
        return find_session(client, exact.session), Place("exact", exact.index, exact)
    if _is_id(client, text):
        return client.session(text), None
    head, at, tail = text.rpartition("@")
    place = read_place(tail) if at else None
    if place is not None:
        return find_session(client, head), place
    found = _matching(client, text)
    if found is None:
        about = f"an id, or SESSION@POS where POS is {GRAMMAR}" if at else "agentstream list"
        raise Missing(f"there is no session {text!r} in {client.name}", hint=about)
    return client.session(found), None


def _matching(client: Client, text: str) -> str | None:
    if _is_id(client, text):
        return text
    if not text or not client._core.backend.traits.lists:
        return None
    matches = [summary.id for summary in client.sessions(prefix=text, limit=SHOWN_MATCHES + 1)]
    if len(matches) > 1:
        more = ", …" if len(matches) > SHOWN_MATCHES else ""
        raise Ambiguous(
            f"{text!r} is the beginning of several ids: {', '.join(sorted(matches[:SHOWN_MATCHES]))}{more}",
            hint="give more of the id",
        )
    return matches[0] if matches else None


def _is_id(client: Client, text: str) -> bool:
    from agentstream.backends.driving import drive
    from agentstream.sessions.ids import checked_id
    from agentstream.sessions.log import locate

    try:
        checked_id(text)
    except ValueError:
        return False
    return drive(locate(text), client._core.backend) is not None


# --- what is in it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """A session as it was when it was read."""

    session: Session
    state: State
    sealed: bool


def open_session(session: Session) -> Opened:
    """Reads and folds a session once, and asks whether its worker lives and whether it is sealed."""
    from agentstream.cli.working import working
    from agentstream.sessions.views.opening import seen

    with working(f"reading {session.id}"):
        return Opened(session, *session._drive(seen(session._core, session.id)))


def state_at(client: Client, text: str) -> State:
    """The state that `SESSION` or `SESSION@POS` means."""
    from agentstream.cli.positions import index_of

    found, place = find_target(client, text)
    state = open_session(found).state
    return state if place is None else state.cut(index_of(place, state))
