"""A session as front ends take it: AG-UI events, and the UI message stream of Vercel's AI SDK.

`to_ag_ui` and `to_ai_sdk` are pure functions of a session's events; `AgUi` and `AiSdk` the same, event by event, for
who follows a session; `app(client)` serves both over HTTP.
"""

from agentstream.frontends.ag_ui import AgUi, to_ag_ui
from agentstream.frontends.ai_sdk import AiSdk, to_ai_sdk
from agentstream.frontends.application import app

__all__ = ["AgUi", "AiSdk", "app", "to_ag_ui", "to_ai_sdk"]
