/**
 * An agent that a test plays over a real mesh: it pulls what it is told, ends each call with its own
 * payload (or holds it), and obeys by epoch as a real one does.
 */

import type { TestContext } from 'node:test'
import type { PrivateKey } from '@libp2p/interface'
import type { AttemptKey } from '../../protocol/call.ts'
import type { CoordinatorMessage, Hello } from '../../protocol/messages.ts'
import { sayHello, type TestCoordinator } from './coordinator.ts'
import { IMAGE } from './fake-ports.ts'
import { makeResult } from './ledger-words.ts'

const HEARTBEAT_MS = 1000

export interface PlayedAgent {
  /** What the coordinator answered the hello with. */
  readonly answer: CoordinatorMessage
  /** Epochs of the orders that came. */
  readonly epochs: ReadonlySet<number>
  readonly assigned: readonly AttemptKey[]
  readonly close: () => Promise<void>
}

export const playAgent = async (
  t: TestContext,
  coordinator: Pick<TestCoordinator, 'peerId' | 'mesh'>,
  key: PrivateKey,
  { isHolding = false, ...over }: Partial<Hello> & { readonly isHolding?: boolean } = {},
): Promise<PlayedAgent> => {
  const { channel, answer } = await sayHello(t, coordinator, key, { slots: 50, ...over })
  const epochs = new Set<number>()
  const assigned: AttemptKey[] = []
  const session = answer.type === 'welcome' ? answer.session : 0
  const obey = async (order: CoordinatorMessage): Promise<void> => {
    if ('epoch' in order) epochs.add(order.epoch)
    if (order.type === 'pull') {
      const record = { ...IMAGE, platform: 'linux/amd64' }
      const end = { record, code: 'FINISHED', message: '' } as const
      await channel.send({ type: 'pull-end', session, pull: order.pull, ...end })
    } else if (order.type === 'assign') {
      const { key: attempt, payload } = order.assignment
      assigned.push(attempt)
      if (isHolding) return
      const result = makeResult(attempt, 'FINISHED', { stdout: payload })
      await channel.send({ type: 'result', session, key: attempt, result })
    }
  }
  const listen = async (): Promise<void> => {
    for await (const order of channel.messages) await obey(order)
  }
  const listening = listen().catch(() => undefined)
  const timer = setInterval(() => {
    channel.send({ type: 'heartbeat', session, attempts: [...assigned] }).catch(() => undefined)
  }, HEARTBEAT_MS)
  const close = async (): Promise<void> => {
    clearInterval(timer)
    await channel.close().catch(() => undefined)
    await listening
  }
  t.after(close)
  return { answer, epochs, assigned, close }
}
