/**
 * An agent without a mesh as a process of its own, so that a test can kill it: opens premises as
 * its parent says, takes assignments and tells every message over the IPC channel.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { openPremises, type PremisesConfig } from '../../agent/premises.ts'
import type { AgentMessage, Assignment, CoordinatorOrder } from '../../protocol/messages.ts'
import { eventually } from './eventually.ts'

const EPOCH = 1
const SESSION = 1

type ToChild =
  | { readonly type: 'open'; readonly config: PremisesConfig }
  | { readonly type: 'assign'; readonly assignment: Assignment }

export interface AgentProcess {
  readonly messages: readonly AgentMessage[]
  assign(assignment: Assignment): void
  message<T extends AgentMessage['type']>(type: T): Promise<Extract<AgentMessage, { type: T }>>
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
}

export const startAgentProcess = async (config: PremisesConfig): Promise<AgentProcess> => {
  const child = fork(fileURLToPath(import.meta.url), ['agent'], { serialization: 'advanced' })
  const gone = once(child, 'exit')
  const messages: AgentMessage[] = []
  let isOpen = false
  child.on('message', (message: AgentMessage | 'open') => {
    if (message === 'open') isOpen = true
    else messages.push(message)
  })
  const send = (message: ToChild): boolean => child.send(message)
  send({ type: 'open', config })
  await eventually(() => isOpen)
  return {
    messages,
    assign: (assignment) => {
      send({ type: 'assign', assignment })
    },
    message: (type) =>
      eventually(() =>
        messages.find(
          (message): message is Extract<AgentMessage, { type: typeof type }> =>
            message.type === type,
        ),
      ),
    async kill() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

const tell = (message: AgentMessage | 'open'): void => {
  process.send?.(message)
}

const serve = (): void => {
  let receive: (order: CoordinatorOrder) => void = () => undefined
  process.on('message', async (message: ToChild) => {
    if (message.type === 'assign') {
      receive({ ...message, session: SESSION, epoch: EPOCH })
      return
    }
    const { attempts } = await openPremises(message.config, pino({ level: 'silent' }))
    receive = attempts.receive
    await attempts.connected(
      { type: 'welcome', session: SESSION, epoch: EPOCH, version: '', name: '', verdicts: [] },
      {
        send: async (sent) => tell(sent),
        disconnect: () => undefined,
        pulls: { start: () => undefined, cancel: () => undefined },
      },
    )
    tell('open')
  })
  // A parent that is gone leaves nothing to do.
  process.on('disconnect', () => process.exit(1))
}

if (process.argv[2] === 'agent') serve()
