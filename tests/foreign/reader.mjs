// Reads a session live with the official packages. node reader.mjs URL MODE: prints each event as it comes, and after
// the event of type "end" what @durable-streams/state has made of them.
import { stream } from "@durable-streams/client"
import { MaterializedState, isChangeEvent } from "@durable-streams/state"

const [url, live] = process.argv.slice(2)
const state = new MaterializedState()
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

const response = await stream({ url, offset: "-1", live, json: true })
response.subscribeJson(async (batch) => {
  for (const event of batch.items) {
    if (!isChangeEvent(event)) throw new Error(`no change: ${JSON.stringify(event)}`)
    state.apply(event)
    say({ event })
    if (event.type === "end") {
      const types = ["session", "run", "status", "step", "outcome", "message", "question", "answer", "note"]
      say({ state: Object.fromEntries(types.map((type) => [type, Object.fromEntries(state.getType(type))])) })
      process.stdout.write("", () => process.exit(0))
    }
  }
})
