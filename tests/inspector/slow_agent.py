"""An agent that takes its time, for what stops one."""

from __future__ import annotations

import time

from agentstream import agent


@agent
def slow(question: str) -> str:
    for _ in range(600):
        time.sleep(0.1)
    return question
