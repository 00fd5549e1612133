/** `hyper agents`: the machines that run calls. */

import { firstArgument, type Input } from '../input.ts'
import { formatAgo, formatBytes } from '../quantity.ts'

const COLUMNS = [
  ...['AGENT', 'STATE', 'SLOTS', 'FREE', 'RUNNING', 'READY', 'MEMORY', 'IMAGES'],
  ...['VERSION', 'SEEN'],
]

export const listAgents = async ({ connect, output }: Input): Promise<undefined> => {
  const client = await connect()
  const all = await client.agents.list()
  // A list of names is for commands about members.
  const agents = output.isQuiet ? all.filter(({ member }) => member !== false) : all
  const nowMs = Date.now()
  output.listing(agents, COLUMNS, (agent) => [
    agent.agent,
    agent.state,
    String(agent.slots),
    String(agent.free),
    String(agent.running),
    String(agent.ready),
    formatBytes(agent.memoryBytes),
    String(agent.images ?? 0),
    agent.version ?? '',
    formatAgo(agent.seen ?? null, nowMs),
  ])
  // The table is for programs as well: why is told beside it.
  if (output.isJson || output.isQuiet) return undefined
  for (const { agent, state, reason } of agents) {
    if (reason !== '') output.note(`${agent} is ${state}: ${reason}`)
  }
  return undefined
}

export const drainAgent = async (input: Input): Promise<undefined> => {
  const agent = firstArgument(input)
  await (await input.connect()).agents.drain(agent)
  input.output.line(agent)
  return undefined
}

export const undrainAgent = async (input: Input): Promise<undefined> => {
  const agent = firstArgument(input)
  await (await input.connect()).agents.undrain(agent)
  input.output.line(agent)
  return undefined
}

export const removeAgent = async (input: Input): Promise<undefined> => {
  const agent = firstArgument(input)
  await (await input.connect()).agents.remove(agent)
  input.output.line(agent)
  return undefined
}
