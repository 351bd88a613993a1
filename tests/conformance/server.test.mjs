// The official server suite against the server at $SERVER_URL. (Its own command line runs no test.)
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

runConformanceTests({
  baseUrl: process.env.SERVER_URL,
  subscriptions: true,
  longPollTimeoutMs: Number(process.env.LONG_POLL_MS),
})
