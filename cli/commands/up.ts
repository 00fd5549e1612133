/** `hyper up`: its flags, and what it says when everything is ready. */

import { relative } from 'node:path'
import { type Client, createClient } from '../../client/client.ts'
import type { DaemonReady } from '../../protocol/daemon.ts'
import { HyperError, toHyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { readContexts } from '../context.ts'
import { agentConfigOf, coordinatorConfigOf } from '../daemon-config.ts'
import type { Environment } from '../environment.ts'
import { ensureHello, HELLO } from '../hello.ts'
import type { Input } from '../input.ts'
import type { Output } from '../output.ts'
import { commandName, isCheckout, modulePath, packageDir } from '../program.ts'
import { parseCount } from '../quantity.ts'
import { runUp } from '../up.ts'

/** The context that the coordinator beside it wrote, whatever the user's own settings are. */
const connectBeside = async ({ home }: Environment): Promise<Client> => {
  const { contexts } = await readContexts(home)
  const own = contexts.default
  if (own === undefined) {
    throw new HyperError('INTERNAL', 'the coordinator has left no token in client.json')
  }
  return createClient(own)
}

const quote = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

interface Greeting {
  readonly gateway: string
  readonly call: string
  readonly invite: string
  readonly home: string
  readonly hasHello: boolean
}

const greetingOf = async (
  ready: DaemonReady,
  { home, isHomeSet, path }: Environment,
  hasHello: boolean,
): Promise<Greeting> => {
  const prefix = isHomeSet ? `HYPER_HOME=${quote(home)} ` : ''
  const hyper = `${prefix}${await commandName(path)}`
  const call = `${hyper} func call --sync ${HELLO}`
  return { gateway: ready.url, call, invite: `${hyper} invite`, home, hasHello }
}

const printGreeting = (greeting: Greeting, output: Output): void => {
  const { gateway, call, invite, home, hasHello } = greeting
  output.line('Hyper Func is up.')
  output.line('')
  output.line(`  Gateway           ${gateway}`)
  if (hasHello) output.line(`  Call a function   ${call}`)
  output.line(`  Join a host       ${invite}`)
  output.line(`  Data              ${home}`)
  output.line('')
  if (isCheckout && invite.includes('npx ')) {
    const folder = relative(process.cwd(), packageDir) === '' ? 'this folder' : packageDir
    output.line(`\`npx hyper\` works in ${folder}; \`npm link\` there gives \`hyper\` everywhere.`)
  }
  output.line('Ctrl-C stops it: no new calls, running ones end first.')
}

/** Without `hello` the rest works as well: that it could not be made is said, and no more. */
const tryHello = async (client: Client, signal: AbortSignal, output: Output): Promise<boolean> => {
  try {
    const isThere = await ensureHello(client, signal)
    if (!isThere) output.note('No agent is connected yet: there is no function `hello`.')
    return isThere
  } catch (error) {
    if (!signal.aborted) {
      output.note(`The function \`hello\` could not be made: ${toHyperError(error).line}`)
    }
    return false
  }
}

export const up = async (input: Input): Promise<number> => {
  const { flags, environment, output } = input
  const agents = parseCount(flags.text('agents') ?? '1', '--agents', { max: limits.agentsMax })
  return runUp({
    coordinator: coordinatorConfigOf(flags, environment),
    agents: Array.from({ length: agents }, (_, index) =>
      agentConfigOf(flags, environment, { number: index + 1, agents, ticket: null, adHoc: false }),
    ),
    programs: { coordinator: modulePath('coordinator/main'), agent: modulePath('agent/main') },
    connect: () => connectBeside(environment),
    greet: async (ready, client, signal) => {
      const hasHello = agents > 0 && (await tryHello(client, signal, output))
      if (signal.aborted) return
      const greeting = await greetingOf(ready, environment, hasHello)
      if (output.isJson) output.json(greeting)
      else printGreeting(greeting, output)
    },
    note: output.note,
  })
}
