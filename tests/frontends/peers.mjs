// The front ends' own code over what we send. node peers.mjs MODE [ARGUMENTS]: prints what it makes of it, as JSON.
import { HttpAgent, defaultApplyEvents, verifyEvents } from "@ag-ui/client"
import { EventSchemas } from "@ag-ui/core/schemas"
import { WorkflowChatTransport } from "@ai-sdk/workflow/client"
import { DefaultChatTransport, readUIMessageStream, uiMessageChunkSchema } from "ai"
import { from, lastValueFrom, toArray } from "rxjs"

const [mode, ...given] = process.argv.slice(2)
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

const input = async () => {
  let text = ""
  for await (const piece of process.stdin) text += piece
  return JSON.parse(text)
}

async function message(stream) {
  const errors = []
  let last = null
  const seen = []
  const watched = stream.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        seen.push(chunk.type)
        controller.enqueue(chunk)
      },
    }),
  )
  for await (const one of readUIMessageStream({ stream: watched, onError: (error) => errors.push(String(error)) })) last = one
  return { message: last, errors, seen }
}

async function applied(events) {
    const verified = await lastValueFrom(verifyEvents()(from(events)).pipe(toArray()), { defaultValue: [] })
    const agent = { messages: [], state: {}, threadId: "t", debug: false, subscribers: [] }
    const empty = { threadId: "t", runId: "r", messages: [], state: {}, tools: [], context: [], forwardedProps: {} }
    const changes = await lastValueFrom(defaultApplyEvents(empty, from(verified), agent, []).pipe(toArray()))
    const messages = changes.filter((change) => change.messages).map((change) => change.messages)
    say({ count: verified.length, messages: messages.at(-1) ?? [] })
}

const modes = {
  // events on stdin: each by its schema, their order by the client's own verifier, and the messages it makes of them
  async "ag-ui"() {
    for (const events of await input()) await applied(events.map((event) => EventSchemas.parse(event)))
  },
  // chunks on stdin: each by its schema, and the message that they build
  async "ai-sdk"() {
    const schema = await uiMessageChunkSchema()
    for (const chunks of await input()) {
      for (const chunk of chunks) {
        const result = await schema.validate(chunk)
        if (!result.success) throw result.error
      }
      say(await message(ReadableStream.from(chunks)))
    }
  },
  // AG-UI's own agent, which asks by POST, asked to look
  async "ag-ui-http"(url, token) {
    class Looking extends HttpAgent {
      requestInit() {
        const headers = { accept: "text/event-stream", ...(token ? { authorization: `Bearer ${token}` } : {}) }
        return { method: "GET", headers, signal: this.abortController.signal }
      }
    }
    const agent = new Looking({ url, threadId: "t" })
    const events = []
    await agent.runAgent({}, { onEvent: ({ event }) => void events.push(event.type) })
    say({ messages: agent.messages, events })
  },
  // useChat's own transport, as it resumes
  async "ai-sdk-http"(url) {
    const prepareReconnectToStreamRequest = () => ({ api: url })
    const transport = new DefaultChatTransport({ api: url, prepareReconnectToStreamRequest })
    const stream = await transport.reconnectToStream({ chatId: "c" })
    say(stream === null ? { message: null, none: true } : await message(stream))
  },
  // the transport for durable workflows, from an index
  async workflow(url, start) {
    const prepareReconnectToStreamRequest = () => ({ api: url })
    const transport = new WorkflowChatTransport({ api: url, prepareReconnectToStreamRequest })
    const stream = await transport.reconnectToStream({ chatId: "c", startIndex: Number(start) })
    say(await message(stream))
  },
}

await modes[mode](...given)
