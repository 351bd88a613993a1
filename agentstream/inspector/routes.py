"""Which path and method asks for what: reading parameters, and no more."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, get_args

from agentstream.inspector import actions
from agentstream.inspector.documents.compared import BY, pair_document
from agentstream.inspector.jobs import JobRequest
from agentstream.inspector.live import live_rows, rows
from agentstream.inspector.requests import Failed, Request, stream
from agentstream.inspector.service import MOST_EVENTS
from agentstream.sessions.ids import checked_id
from agentstream.sessions.search import Sort

if TYPE_CHECKING:
    from agentstream.inspector.service import Inspector

Handler = Callable[["Inspector", Request], Awaitable[None]]

MOST_LISTED = 1000


async def about(inspector: Inspector, request: Request) -> None:
    await request.answer(inspector.about())


async def sessions(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    sort = asked.get("sort", "updated")
    if sort not in get_args(Sort):
        raise Failed(400, "invalid", f"sort is one of {', '.join(get_args(Sort))}")
    found = await inspector.listing(
        q=asked.get("q", ""),
        status=frozenset(word for word in asked.get("status", "").split(",") if word),
        agent=asked.get("agent", ""),
        sort=sort,  # pyright: ignore[reportArgumentType]
        reverse=_flag(asked, "reverse"),
        offset=_number(asked, "offset", 0),
        limit=min(_number(asked, "limit", 100), MOST_LISTED),
        parent=asked.get("parent") or None,
        tag=asked.get("tag") or None,
        text=asked.get("text") or None,
    )
    await request.answer(found)


async def session_rows(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    session, after = _session(asked), _number(asked, "after", 0)
    incarnation = asked.get("incarnation") or None
    if _flag(asked, "live"):
        await stream(request, live_rows(inspector.sessions, session, after, incarnation))
    else:
        held = await inspector.sessions.current(session, whole=False)
        await inspector.sessions.see_forks(held)
        await stream(request, rows(held, after, incarnation))


async def events(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    try:
        indexes = [int(part) for part in asked.get("at", "").split(",") if part.isascii() and part]
    except ValueError:
        raise Failed(400, "invalid", "at= is the numbers of events: at=5,6,7") from None
    if not 0 < len(indexes) <= MOST_EVENTS:
        raise Failed(400, "invalid", f"at= is the numbers of 1 to {MOST_EVENTS} events: at=5,6,7")
    await request.answer(await inspector.events(_session(asked), indexes))


async def find(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    found = await inspector.find(_session(asked), asked.get("q", ""), _number(asked, "after", 0))
    await request.answer(found)


async def state(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    at = _number(asked, "at", 0) if "at" in asked else None
    await request.answer(await inspector.state(_session(asked), at))


async def conversation(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    last = min(_number(asked, "last", MOST_EVENTS), MOST_LISTED)
    await request.answer(await inspector.conversation(_session(asked), _number(asked, "at"), last))


async def raw(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    await request.answer(await inspector.raw(_session(asked), _number(asked, "at")))


async def value(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    found = await inspector.value(
        _session(asked), _number(asked, "at"), asked.get("path", ""), asked.get("of", "value")
    )
    await request.answer(found)


async def tree(inspector: Inspector, request: Request) -> None:
    await request.answer(await inspector.tree(request.parameters().get("session") or None))


async def compare(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    by = BY.get(asked.get("by", "steps"))
    if by is None:
        raise Failed(400, "invalid", f"by= is one of {', '.join(BY)}")
    sides = await inspector.sides(asked.get("left", ""), asked.get("right"))
    await request.answer(await asyncio.to_thread(by, *sides))


async def pair(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    sides = await inspector.sides(asked.get("left", ""), asked.get("right"))
    number = _number(asked, "n")
    try:
        found = await asyncio.to_thread(pair_document, *sides, asked.get("by", "steps"), number)
    except IndexError:
        raise Failed(404, "not_found", f"there is no pair {number}") from None
    await request.answer(found)


async def estimate(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    found = await inspector.estimate(_session(asked), _number(asked, "from", 0), asked.get("model") or None)
    await request.answer(found)


async def export(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    session, form = _session(asked), asked.get("format", "jsonl")
    kind, content = await inspector.export(session, form, forks=_flag(asked, "forks"))
    name = re.sub(r"[^\w.-]+", "-", session, flags=re.ASCII).strip("-.") or "session"
    ending = {"markdown": "md"}.get(form, form)
    # a page that came from here is never shown here: it would be one of our own origin
    headers = {
        "content-type": kind,
        "content-disposition": f'attachment; filename="{name}.{ending}"',
        "content-security-policy": "sandbox",
    }
    await request.send_whole(200, headers, content)


async def entrypoints(inspector: Inspector, request: Request) -> None:
    await request.answer({"entrypoints": await inspector.entrypoints(_session(request.parameters()))})


async def make_fork(inspector: Inspector, request: Request) -> None:
    await request.answer(await actions.fork(inspector, await request.form(actions.ForkRequest)))


async def give_answer(inspector: Inspector, request: Request) -> None:
    await request.answer(await actions.answer(inspector, await request.form(actions.AnswerRequest)))


async def begin_job(inspector: Inspector, request: Request) -> None:
    job = await inspector.jobs.begin(await request.form(JobRequest))
    await request.answer(job.document())


async def job(inspector: Inspector, request: Request) -> None:
    asked = request.parameters()
    found = inspector.jobs.find(asked.get("job", ""))
    if _flag(asked, "wait"):
        await inspector.jobs.wait(found)
    await request.answer(found.document())


async def stop_job(inspector: Inspector, request: Request) -> None:
    found = inspector.jobs.find((await request.form(dict[str, str])).get("job", ""))
    await inspector.jobs.stop(found)
    await request.answer(found.document())


def _session(asked: Mapping[str, str]) -> str:
    session = asked.get("session", "")
    if not session:
        raise Failed(400, "invalid", "session= names the session")
    return checked_id(session)


def _number(asked: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = asked.get(name, "")
    if not text and default is not None:
        return default
    if not text.isdecimal() or not text.isascii() or len(text) > 15:
        raise Failed(400, "invalid", f"{name}= is a whole number")
    return int(text)


def _flag(asked: Mapping[str, str], name: str) -> bool:
    return asked.get(name, "") not in ("", "0", "false")


ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "about": {"GET": about},
    "sessions": {"GET": sessions},
    "rows": {"GET": session_rows},
    "events": {"GET": events},
    "find": {"GET": find},
    "state": {"GET": state},
    "conversation": {"GET": conversation},
    "raw": {"GET": raw},
    "value": {"GET": value},
    "tree": {"GET": tree},
    "compare": {"GET": compare},
    "compare/pair": {"GET": pair},
    "estimate": {"GET": estimate},
    "entrypoints": {"GET": entrypoints},
    "export": {"GET": export},
    "fork": {"POST": make_fork},
    "answer": {"POST": give_answer},
    "jobs": {"GET": job, "POST": begin_job},
    "jobs/stop": {"POST": stop_job},
}
