/**
 * An agent without an engine: the product's own node, enrolment, connection, heartbeat and
 * advertiser, with attempts, images and disk that are played. It says and hears on the mesh what a
 * real one does; what it is assigned ends at once, with its payload as its output.
 */

import type { PrivateKey } from '@libp2p/interface'
import { pino } from 'pino'
import { startAdvertiser } from '../agent/advertiser.ts'
import type { Attempts } from '../agent/attempts.ts'
import { machineClock } from '../agent/clock.ts'
import { startConnection } from '../agent/connection.ts'
import type { Session } from '../agent/effects.ts'
import { createPullOrders } from '../agent/pull-orders.ts'
import { type AttemptKey, attemptName } from '../protocol/call.ts'
import { publishAdvert } from '../protocol/mesh/adverts.ts'
import { openAgentChannel } from '../protocol/mesh/agent-channel.ts'
import { startAgentNode } from '../protocol/mesh/node.ts'
import type { CoordinatorOrder } from '../protocol/messages.ts'
import { IMAGE } from '../test/support/fake-ports.ts'
import { MiB, makeHello, makeResult } from '../test/support/ledger-words.ts'

const SLOTS = 4
const ROOM = { slots: SLOTS, memoryBytes: 4096 * MiB }
/** Of a host that runs a few functions. */
const IMAGES = 20
const READY_KINDS = 3
const DIGEST_CHARS = 64
const READY_KEY_CHARS = 22

const log = pino({ level: 'silent' })

const images = Array.from(
  { length: IMAGES },
  (_, at) => `sha256:${at.toString(16).padStart(DIGEST_CHARS, '0')}`,
)
const ready = new Map(
  Array.from({ length: READY_KINDS }, (_, at) => [`${at}`.padStart(READY_KEY_CHARS, 'k'), 1]),
)

type PlayedAttempts = Pick<
  Attempts,
  'connected' | 'disconnected' | 'receive' | 'renewable' | 'free' | 'isDraining'
>

const playAttempts = (onChange: () => void): PlayedAttempts & { epochSeen: () => number } => {
  let current: Session | null = null
  let number = 0
  let epoch = 0
  /** Ended, and not yet acknowledged. */
  const held = new Map<string, AttemptKey>()

  const tell = (session: Session, key: AttemptKey, payload: Uint8Array): void => {
    const result = makeResult(key, 'FINISHED', { stdout: payload })
    // What a session that ends does not take is lost: the coordinator gives the call out again.
    const lost = (): undefined => undefined
    session.send({ type: 'started', session: number, key }).catch(lost)
    session.send({ type: 'result', session: number, key, result }).catch(lost)
  }

  const receive = (order: CoordinatorOrder): void => {
    if (current === null) return
    if (order.type === 'assign') {
      const { key, payload } = order.assignment
      held.set(attemptName(key), key)
      tell(current, key, payload)
      onChange()
    } else if (order.type === 'acknowledge') {
      held.delete(attemptName(order.key))
      onChange()
    } else if (order.type === 'pull') current.pulls.start(order)
  }

  return {
    async connected(welcome, session) {
      epoch = Math.max(epoch, welcome.epoch)
      number = welcome.session
      current = session
      held.clear()
    },
    disconnected() {
      current = null
    },
    receive,
    renewable: () => [...held.values()],
    free: () => ({ ...ROOM, slots: SLOTS - held.size }),
    isDraining: () => false,
    epochSeen: () => epoch,
  }
}

export interface LightAgent {
  close(): Promise<void>
}

export const startLightAgent = async (deps: {
  readonly key: PrivateKey
  readonly name: string
  readonly coordinator: string
  readonly addresses: readonly string[]
  readonly onDial: () => void
  readonly onWelcome: () => void
}): Promise<LightAgent> => {
  const node = await startAgentNode({ ...deps, log })
  const attempts = playAttempts(() => advertiser.changed())
  const advertiser = startAdvertiser({
    ...{ attempts, log, isReady: () => true, ready: () => ready },
    images: { keys: async () => images, changes: () => 1 },
    disk: { look: async () => ({ freeBytes: 2 ** 36, allBytes: 2 ** 37 }), trouble: () => '' },
    publish: (advert) => publishAdvert(node, advert),
    ...{ clock: machineClock, random: Math.random },
  })
  let greeting = 0
  const hostFacts = () => {
    const { platform, runtimes } = makeHello()
    return { ...ROOM, platform, runtimes }
  }
  const connection = startConnection({
    ...{ attempts, log, hostFacts },
    open(signal) {
      deps.onDial()
      return openAgentChannel(node, signal)
    },
    hello() {
      greeting += 1
      const { name } = deps
      const epochSeen = attempts.epochSeen()
      return makeHello({ ...hostFacts(), host: name, storeId: name, greeting, epochSeen })
    },
    createPulls: (send) =>
      createPullOrders({
        ...{ log, send, onEnd: advertiser.changed },
        images: { pull: async () => ({ ...IMAGE, platform: makeHello().platform }) },
      }),
    onWelcome() {
      deps.onWelcome()
      advertiser.changed()
    },
  })
  await Promise.race([connection.welcomed, connection.ended])
  return {
    async close() {
      await connection.close()
      await advertiser.close()
      await node.stop()
    },
  }
}
