"""Back to an earlier checkpoint, on from there with another state, and a copy of the thread that costs nothing."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from agentstream_langgraph import StreamSaver
from langgraph.graph import END, START, StateGraph

from agentstream import Client


class Story(TypedDict):
    words: Annotated[list[str], operator.add]


def node(word: str) -> Any:
    return lambda state: {"words": [word]}


def main() -> None:
    with Client("memory:") as client:
        saver = StreamSaver(client)
        builder = StateGraph(Story)
        for before, word in zip((START, "once", "upon", "a"), ("once", "upon", "a", "time"), strict=True):
            builder.add_node(word, node(word))
            builder.add_edge(before, word)
        builder.add_edge("time", END)
        graph = builder.compile(checkpointer=saver)

        thread: Any = {"configurable": {"thread_id": "story"}}
        print(graph.invoke({"words": []}, thread)["words"])

        saver.copy_thread("story", "copy")
        earlier = next(state for state in graph.get_state_history(thread) if state.next == ("a",))
        branch = graph.update_state(earlier.config, {"words": ["on"]})
        print(graph.invoke(None, branch)["words"])
        print(graph.get_state({"configurable": {"thread_id": "copy"}}).values["words"])


if __name__ == "__main__":
    main()
