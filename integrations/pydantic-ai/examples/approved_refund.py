"""A Pydantic AI agent looks an order up, asks a person before it refunds anything, fails at that, and goes on.

The model is made up, so no key and no network is needed; with a key, say Agent("openai:gpt-5", …).

    python integrations/pydantic-ai/examples/approved_refund.py
"""

import tempfile

from agentstream_pydantic_ai import Recorded, history, run_durable_sync
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agentstream import Client, RunWaiting

asked = 0
killed = False


def think(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """What a model might answer."""
    global asked
    asked += 1
    steps = [
        ToolCallPart("look_up", {"order": "A1"}, tool_call_id="call_1"),
        ToolCallPart("refund", {"order": "A1", "euros": 30}, tool_call_id="call_2"),
        TextPart("Order A1 was broken; you get your money back."),
    ]
    return ModelResponse(parts=[steps[sum(isinstance(message, ModelResponse) for message in messages)]])


support = Agent(FunctionModel(think), name="support", capabilities=[Recorded(once=["refund"])])


@support.tool_plain
def look_up(order: str) -> str:
    print(f"  looking {order} up")
    return "broken on arrival, 30 euros"


@support.tool_plain(requires_approval=True)
def refund(order: str, euros: int) -> str:
    global killed
    if not killed:
        killed = True
        raise ConnectionError("the bank does not answer")
    return f"refunded {euros} euros for {order}"


def main() -> None:
    with tempfile.TemporaryDirectory() as store, Client(store) as client:
        session = client.session("support/42")
        question = "My order A1 came broken."
        try:
            run_durable_sync(support, question, session)
        except RunWaiting as waiting:
            (approval,) = waiting.questions
            print(f"asks: {approval.prompt} {approval.arguments}")
            session.answer(approval, {"approved": True, "arguments": {"euros": 25}}, by="ann")
        for _ in range(2):
            try:
                print(run_durable_sync(support, question, session))
            except ConnectionError as error:
                print(f"fails: {error}; the same call goes on")
        print(f"the model was asked {asked} times; {len(history(session.state()))} messages are remembered")


if __name__ == "__main__":
    main()
