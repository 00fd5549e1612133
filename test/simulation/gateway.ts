/**
 * Requests of clients and what becomes of them on the way: the counterpart of coordinator/gateway
 * over the same ports, without HTTP. A request may find nobody, break before, within or after its
 * answer, and every delivery of a body ends with exactly one word, as gateway/delivery.ts says it.
 */

import type { CallRequest, FinalAnswer } from '../../coordinator/ports.ts'
import { HyperError, toHyperError } from '../../protocol/errors.ts'
import type { Rooms, SimulatedCoordinator } from './coordinator.ts'
import { digestOf, type History } from './history.ts'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './scheduler.ts'

interface ClientWeather {
  delayMs: number
  /** Likelihood that a delivery breaks before its end. */
  breaks: number
}

export type Reply<T> =
  | { readonly kind: 'answered'; readonly value: T; readonly coordinator: string }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'broken' }

export interface Ended {
  readonly status: number
  readonly isWhole: boolean
}

interface Asked {
  readonly op: number
  readonly coordinator: string
  readonly via: 'sync' | 'get' | 'wait'
  readonly askedMs: number
}

interface GatewayDeps {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly history: History
  readonly weather: ClientWeather
  /** Whom the address leads to. */
  readonly coordinator: () => SimulatedCoordinator
}

const text = new TextDecoder()
const TEXT_BYTES_MAX = 600
const OUTPUT_GONE = 410

export const createGateway = (deps: GatewayDeps) => {
  const { scheduler, random, history, weather } = deps
  let lastOp = 0

  const travel = (): Promise<void> => scheduler.pause(random.below(weather.delayMs + 1))

  /** One request. Broken: nobody was there, or its process died over it. */
  const request = async <T>(
    act: (rooms: Rooms, process: Process, coordinator: string) => Promise<T>,
  ): Promise<Reply<T>> => {
    await travel()
    const target = deps.coordinator()
    const process = target.process()
    const rooms = target.rooms()
    const { name: coordinator } = target
    if (process === null || rooms === null) return { kind: 'broken' }
    const answered = process
      .pause(0)
      .then(() => act(rooms, process, coordinator))
      .then(
        (value): Reply<T> => ({ kind: 'answered', value, coordinator }),
        (error: unknown): Reply<T> => {
          const { code } = toHyperError(error)
          // An assertion of ours, not an answer.
          if (code === 'INTERNAL') target.failAt(error)
          return { kind: 'refused', code }
        },
      )
    const died = process.died.then((): Reply<T> => ({ kind: 'broken' }))
    const reply = await Promise.race([answered, died])
    if (reply.kind !== 'broken') await travel()
    return reply
  }

  /** Sends a final answer; what the client has of it. */
  const deliver = async (
    rooms: Rooms,
    process: Process,
    answer: FinalAnswer,
    asked: Asked,
    canBreak: boolean,
  ): Promise<Ended> => {
    const { callId, httpStatus: status, body } = answer
    const isBroken = canBreak && random.chance(weather.breaks)
    await process.pause(random.below(weather.delayMs + 1))
    if (status !== OUTPUT_GONE) {
      const { coordinator } = asked
      history.record({ type: 'delivered', coordinator, callId, isDelivered: !isBroken })
      if (isBroken) rooms.core.calls.undelivered(callId)
      else rooms.core.calls.delivered(callId)
    }
    history.record({
      type: 'seen',
      ...{ callId, ...asked, status, attempt: answer.attempt, isWhole: !isBroken },
      code: status === OUTPUT_GONE ? 'OUTPUT_GONE' : answer.outcome.code,
      body: digestOf(body),
      text: status === 200 ? '' : text.decode(body.subarray(0, TEXT_BYTES_MAX)),
    })
    return { status, isWhole: !isBroken }
  }

  const seen = (asked: Asked, callId: string, status: number): Ended => {
    const none = { code: '', attempt: 0, body: '', text: '', isWhole: true }
    history.record({ type: 'seen', ...asked, callId, status, ...none })
    return { status, isWhole: true }
  }

  const nextOp = (): number => {
    lastOp += 1
    return lastOp
  }

  /** The function as it is when the request's head comes; its body comes a moment later. */
  const callRequest = async (
    rooms: Rooms,
    process: Process,
    funcId: string,
    payload: Uint8Array,
  ): Promise<CallRequest> => {
    const stored = rooms.funcs.byId(funcId)
    if (stored === null) throw new HyperError('FUNC_NOT_FOUND', 'no such function')
    await process.pause(random.below(20))
    return { stored, payload, environment: stored.func.Config.Env, note: '' }
  }

  const submitted = (
    op: number,
    isSync: boolean,
    funcId: string,
    accountId: string,
    input: Uint8Array,
  ) =>
    history.record({
      type: 'submitted',
      ...{ op, isSync, funcId, accountId },
      input: digestOf(input),
    })

  const ended = (op: number, reply: Reply<unknown>): void => {
    if (reply.kind === 'broken') history.record({ type: 'broken', op })
    if (reply.kind === 'refused') history.record({ type: 'refused', op, code: reply.code })
  }

  return {
    request,
    nextOp,
    /** The id, once it was told; null where it was not. */
    async call(
      op: number,
      funcId: string,
      accountId: string,
      input: Uint8Array,
    ): Promise<string | null> {
      submitted(op, false, funcId, accountId, input)
      const reply = await request(async (rooms, process) =>
        rooms.core.calls.accept(await callRequest(rooms, process, funcId, input)),
      )
      ended(op, reply)
      if (reply.kind !== 'answered') return null
      const { value: callId, coordinator } = reply
      history.record({ type: 'accepted', coordinator, op, callId })
      return callId
    },
    /** The client waits on its own request, for as long as it has patience. */
    async callSync(
      op: number,
      funcId: string,
      accountId: string,
      input: Uint8Array,
      patienceMs: number,
    ): Promise<string | null> {
      submitted(op, true, funcId, accountId, input)
      let known: string | null = null
      const reply = await request(async (rooms, process, coordinator) => {
        const askedMs = scheduler.nowMs()
        const { calls } = rooms.core
        const { callId, answer } = calls.acceptSync(
          await callRequest(rooms, process, funcId, input),
        )
        known = callId
        history.record({ type: 'accepted', coordinator, op, callId })
        const gone = scheduler.pause(patienceMs).then(() => null)
        const final = await Promise.race([answer, gone])
        if (final === null) {
          await process.pause(0)
          history.record({ type: 'delivered', coordinator, callId, isDelivered: false })
          calls.undelivered(callId)
          return null
        }
        return deliver(rooms, process, final, { op, coordinator, via: 'sync', askedMs }, true)
      })
      ended(op, reply)
      return known
    },
    async get(funcId: string, callId: string, canBreak: boolean): Promise<Reply<Ended>> {
      const op = nextOp()
      const askedMs = scheduler.nowMs()
      return request(async (rooms, process, coordinator) => {
        const { calls } = rooms.core
        const asked = { op, coordinator, via: 'get', askedMs } as const
        const early = await calls.answer(funcId, callId)
        if (early !== null) return deliver(rooms, process, early, asked, canBreak)
        const view = await calls.find(funcId, callId)
        if (view === null) return seen(asked, callId, 404)
        if (view.state === 'running') return seen(asked, callId, 201)
        if (view.state === 'pending' || view.state === 'leased') {
          return seen(asked, callId, 202)
        }
        const answer = await calls.answer(funcId, callId)
        if (answer === null) return seen(asked, callId, 404)
        return deliver(rooms, process, answer, asked, canBreak)
      })
    },
    async wait(funcId: string, callId: string, patienceMs: number): Promise<Reply<Ended | null>> {
      const op = nextOp()
      const askedMs = scheduler.nowMs()
      return request(async (rooms, process, coordinator) => {
        const { calls } = rooms.core
        const asked = { op, coordinator, via: 'wait', askedMs } as const
        if ((await calls.find(funcId, callId)) === null) {
          return seen(asked, callId, 404)
        }
        const leaving = new AbortController()
        scheduler.after(patienceMs, () => leaving.abort(new Error('gone')))
        const answer = await calls.waitForAnswer(funcId, callId, leaving.signal).catch((error) => {
          if (leaving.signal.aborted) return null
          throw error
        })
        if (answer === null) return null
        return deliver(rooms, process, answer, asked, true)
      })
    },
  }
}

export type Gateway = ReturnType<typeof createGateway>
