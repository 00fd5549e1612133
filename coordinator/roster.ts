/**
 * The agents that are connected, and the conversation with each (protocol/messages.ts).
 *
 *   channel opened ─► hello read ─► session given ─► welcome sent ─► messages … ─► closed
 *
 * A session is one connection of one agent. What it says is told to the ledger; orders go to the
 * session they were decided for, or nowhere. A second connection of an agent replaces its first; of
 * two processes with one key the later stays, and the other is sent away for good (hello.ts). A
 * channel that is silent for too long, or breaks the protocol, is closed: the agent dials again. One
 * that was made earlier can be heard later: its hello is taken, and proves nothing (hello.ts). An
 * agent that has obeyed a later epoch is sent away, and known as such until it comes otherwise.
 */

import type { Log } from '../daemon/log.ts'
import type { AttemptKey } from '../protocol/call.ts'
import { HyperError, messageOf, toHyperError } from '../protocol/errors.ts'
import type { ImageRecord } from '../protocol/image.ts'
import type { MemberChannel } from '../protocol/mesh/agent-channel.ts'
import {
  type AgentMessage,
  type Assignment,
  factsOf,
  type Hello,
  type Verdict,
} from '../protocol/messages.ts'
import { checkHello, createGreetings, dismiss, keyInUse, readHello } from './hello.ts'
import type { LedgerEvent, Order } from './ledger/state.ts'
import type { Membership } from './membership.ts'
import { createPace } from './pace.ts'
import type { Presence } from './presence.ts'
import { createSession, type Session, type WatchSilence } from './session.ts'

export interface Roster {
  /**
   * Takes a channel that an agent has just opened, and owns it from then on. The agent is told the
   * addresses: multiaddrs of this coordinator.
   */
  take(channel: MemberChannel, addresses: readonly string[]): void
  send(agentId: string, order: Order): void
  welcome(agentId: string, session: number, verdicts: Verdict[]): void
  assign(agentId: string, assignment: Assignment): void
  pull(
    agentId: string,
    reference: string,
    auth: string,
    onProgress: (line: string) => void,
    signal: AbortSignal,
  ): Promise<ImageRecord>
  /** It is no member any more. */
  disconnect(agentId: string): void
  close(): Promise<void>
}

interface Deps {
  readonly epoch: number
  readonly version: string
  readonly membership: Membership
  readonly presence: Presence
  readonly apply: (event: LedgerEvent) => void
  /** What was applied is durable. */
  readonly settled: () => Promise<void>
  /** A hello told of a later coordinator. */
  readonly onEpochAhead: (epochSeen: number) => void
  /** What an agent is told of credentials for a pull that an attempt needs; null: nothing. */
  readonly pullAuth: (agentId: string, key: AttemptKey) => string | null
  /** An agent asked to leave the mesh for good. */
  readonly onLeave: (agentId: string) => void
  readonly watchSilence: WatchSilence
  readonly log: Log
}

export const createRoster = (deps: Deps): Roster => {
  const { epoch, version, membership, presence, apply, log } = deps
  const sessions = new Map<string, Session>()
  const greetings = createGreetings()
  /** With the addresses to tell on them. */
  const open = new Map<MemberChannel, readonly string[]>()
  let lastSession = 0

  /** It passes through: nothing here keeps or logs it. */
  const giveAuth = (session: Session, key: AttemptKey): void => {
    const auth = deps.pullAuth(session.agentId, key)
    if (auth === null) return
    session.send({ type: 'registry-auth', session: session.number, epoch, key, auth })
  }

  const hear = (session: Session, message: AgentMessage): void => {
    const { agentId } = session
    if (message.type === 'hello') throw new HyperError('BAD_PARAMETER', 'a second hello')
    // One that is on its way out may still speak.
    if (message.session !== session.number || sessions.get(agentId) !== session) return
    presence.heard(agentId)
    switch (message.type) {
      case 'heartbeat':
        apply({ type: 'heartbeat', agentId, keys: message.attempts })
        break
      case 'draining':
        session.isDraining = message.draining
        apply({ type: 'draining', agentId, draining: message.draining })
        break
      case 'leave':
        deps.onLeave(agentId)
        break
      case 'pull-progress':
        session.pulls.progress(message.pull, message.line)
        break
      case 'want-registry-auth':
        giveAuth(session, message.key)
        break
      case 'pull-end':
        session.pulls.end(message)
        break
      case 'result':
        apply({ type: 'result', agentId, key: message.key, result: message.result })
        break
      case 'refused':
        apply({ type: 'refused', agentId, key: message.key, message: message.message })
        break
      default:
        apply({ type: message.type, agentId, key: message.key })
    }
  }

  const hearBulk = (agentId: string): void => {
    presence.heard(agentId)
    apply({ type: 'bulk', agentId })
  }

  const begin = (channel: MemberChannel, hello: Hello): Session => {
    const agentId = channel.remotePeer
    giveWay(agentId, hello)
    lastSession += 1
    const session = createSession({ number: lastSession, epoch, channel, hello })
    sessions.set(agentId, session)
    presence.came(agentId)
    const standing = greetings.take(agentId, hello)
    const { name, labels } = membership.introduce(agentId, factsOf(hello))
    const event = { type: 'connect', agentId, name, session: session.number } as const
    apply({ ...event, hello: { ...hello, labels }, ...standing })
    log.info({ agent: name, peer: agentId, slots: hello.slots }, 'agent connected')
    return session
  }

  /** Ends the session that the key of a hello still has. */
  const giveWay = (agentId: string, hello: Hello): void => {
    const former = sessions.get(agentId)
    if (former === undefined) return
    if (greetings.judge(agentId, hello) === 'over') {
      end(former, new HyperError('STOPPING', 'the agent connected again'))
      return
    }
    const reason = keyInUse(agentId)
    log.warn({ peer: agentId, code: reason.code }, 'agent replaced by another with its key')
    // Told first: on a line that is half open nobody hears it, and it is not waited for.
    dismiss(former.channel, reason, former.protocol).catch(() => undefined)
    end(former, reason, true)
  }

  const end = (session: Session, reason: Error, isTold = false): void => {
    if (sessions.get(session.agentId) !== session) return
    sessions.delete(session.agentId)
    if (!isTold) session.channel.abort(reason)
    if (membership.isMember(session.agentId)) presence.lost(session.agentId, messageOf(reason))
    session.pulls.fail(
      new HyperError('PULL_FAILED', 'the agent that pulled went away', { cause: reason }),
    )
    apply({ type: 'disconnect', agentId: session.agentId, session: session.number })
    log.info({ peer: session.agentId, reason: messageOf(reason) }, 'agent disconnected')
  }

  const converse = async (session: Session): Promise<void> => {
    const watch = deps.watchSilence(session.channel, () => {
      if (sessions.get(session.agentId) === session) hearBulk(session.agentId)
    })
    const pace = createPace(deps.settled)
    try {
      for await (const message of session.channel.messages) {
        watch.heard()
        hear(session, message)
        await pace(message)
      }
      const broken = await session.channel.closed
      // One that said that it stops, and then closed in order, has gone by its own will.
      const isCurrent = sessions.get(session.agentId) === session
      if (broken === null && session.isDraining && isCurrent) membership.leave(session.agentId)
      end(session, broken ?? new HyperError('UNREACHABLE', 'the agent closed the channel'))
    } catch (error) {
      end(session, toHyperError(error))
    } finally {
      watch.stop()
    }
  }

  /** Of a member whose hello is refused. */
  const noteRefusal = (agentId: string, { epochSeen }: Hello): void => {
    presence.heard(agentId)
    if (epochSeen <= epoch) return
    presence.wentAhead(agentId)
    deps.onEpochAhead(epochSeen)
  }

  const checkSecond = (agentId: string, hello: Hello): void => {
    const isLater = sessions.has(agentId) && greetings.judge(agentId, hello) === 'later'
    if (isLater) throw keyInUse(agentId)
  }

  const refuse = async (
    channel: MemberChannel,
    error: HyperError,
    hello: Hello | null,
  ): Promise<void> => {
    log.warn({ peer: channel.remotePeer, code: error.code, reason: error.message }, 'hello refused')
    await dismiss(channel, error, hello?.protocol)
  }

  const host = async (channel: MemberChannel): Promise<void> => {
    let hello: Hello | null = null
    try {
      hello = await readHello(channel)
      if (hello === null) return
      checkHello(hello, version, epoch)
      checkSecond(channel.remotePeer, hello)
    } catch (error) {
      if (hello !== null) noteRefusal(channel.remotePeer, hello)
      await refuse(channel, toHyperError(error), hello)
      return
    }
    await converse(begin(channel, hello))
  }

  return {
    take(channel, addresses) {
      open.set(channel, addresses)
      host(channel)
        .catch((error: unknown) => channel.abort(toHyperError(error)))
        .finally(() => open.delete(channel))
        .catch((error: unknown) => log.error({ err: error }, 'channel failed'))
    },
    send(agentId, order) {
      const session = sessions.get(agentId)
      if (session?.number === order.session) session.send({ ...order, epoch })
    },
    welcome(agentId, number, verdicts) {
      const session = sessions.get(agentId)
      if (session?.number !== number) return
      const name = membership.get(agentId)?.name ?? ''
      const addresses = [...(open.get(session.channel) ?? [])]
      session.send({
        type: 'welcome',
        session: number,
        epoch,
        version,
        name,
        verdicts,
        addresses,
      })
    },
    assign(agentId, assignment) {
      const session = sessions.get(agentId)
      // Without a session it is settled as never started at the next hello.
      if (session === undefined) return
      if (session.assign(assignment)) return
      const message = 'the line to the agent is full'
      apply({ type: 'refused', agentId, key: assignment.key, message })
    },
    pull(agentId, reference, auth, onProgress, signal) {
      const session = sessions.get(agentId)
      if (session === undefined) {
        return Promise.reject(new HyperError('NO_AGENT', 'no agent is connected'))
      }
      return session.pull(reference, auth, onProgress, signal)
    },
    disconnect(agentId) {
      const session = sessions.get(agentId)
      if (session !== undefined) end(session, new HyperError('NOT_A_MEMBER', 'removed'))
      presence.forget(agentId)
    },
    async close() {
      const reason = new HyperError('STOPPING', 'the coordinator is stopping')
      for (const session of [...sessions.values()]) end(session, reason)
      for (const channel of open.keys()) channel.abort(reason)
      await Promise.allSettled([...open.keys()].map((channel) => channel.closed))
    },
  }
}
