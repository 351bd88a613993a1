"""A question to Claude, kept in a session and followed while the answer comes: `python followed.py "What is here?"`.

With the id that it prints as second argument the talk goes on: tomorrow, and on any machine with the same store.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import uuid4

from agentstream_claude import StreamSessionStore
from claude_agent_sdk import ClaudeAgentOptions, project_key_for_directory, query

from agentstream import AsyncClient, AsyncSession


async def follow(session: AsyncSession) -> None:
    """What any other process could do too, to the end of the turn."""
    told = ""
    over: set[str] = set()
    async for event in session.follow("now"):
        said = event.value
        if event.type == "delta" and said["kind"] == "text" and said["target"] not in over:
            print(said["text"], end="", flush=True)
            told += said["text"]
        elif event.type == "message" and said["role"] == "assistant":  # whole: pieces that come later are in it
            text = "".join(part["text"] for part in said["parts"] if part["type"] == "text")
            print(text.removeprefix(told), end="", flush=True)
            told = ""
            over.add(said["id"])
            if said["finish_reason"] == "end_turn":
                return
        elif event.type == "tool_call":
            print(f"\n[{said['name']}]", flush=True)


async def main(prompt: str, resume: str | None = None) -> None:
    async with AsyncClient() as client:
        store = StreamSessionStore(client)
        name = resume or str(uuid4())
        session = client.session(store.session_id({"project_key": project_key_for_directory(), "session_id": name}))
        await session.label(title=prompt)  # it is there now, and can be followed
        follower = asyncio.create_task(follow(session))
        options = ClaudeAgentOptions(
            session_store=store,
            session_store_flush="eager",
            include_partial_messages=True,
            resume=resume,
            session_id=None if resume else name,
        )
        try:
            async for _ in store.publish(query(prompt=prompt, options=options)):
                pass
            await asyncio.wait([follower], timeout=10)  # what was said last is on its way
        finally:
            follower.cancel()
        used = (await session.state()).usage
        print(f"\n{used['input_tokens']:g} tokens in, {used['output_tokens']:g} out; go on with {name}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
