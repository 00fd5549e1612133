/**
 * The way in of a call: admitted against the account's bounds, accepted into the ledger, and later
 * made into the assignment that an agent gets. The inputs of calls that run soon stay at hand, within
 * bounds; the others are read back from the store when their turn comes. A call that is leased by
 * its own acceptance is assigned from what is at hand, since its input may not be written yet.
 */

import { type AttemptKey, attemptName } from '../protocol/call.ts'
import { HyperError, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Assignment } from '../protocol/messages.ts'
import type { Ledger, LedgerEvent, Terms } from './ledger/state.ts'
import type { CallRequest, StoredFunc } from './ports.ts'
import { preparationOf } from './preparation.ts'
import { decodeInput, type Input } from './rows.ts'
import { numberKey, type Store } from './store/store.ts'

export interface Intake {
  /** Accepts a call and returns its id at once; the caller waits for what it needs. QUEUE_FULL, STOPPING. */
  accept(request: CallRequest, isSync: boolean): string
  /** Builds and sends an assignment, if its lease still stands then. */
  assign(agentId: string, key: AttemptKey, terms: Terms, seq: number): void
  /** The call has ended: its input is not needed any more. */
  forget(callId: string): void
}

interface Deps {
  readonly ledger: Ledger
  readonly store: Pick<Store, 'body'>
  readonly apply: (event: LedgerEvent) => void
  readonly isStopping: () => boolean
  readonly newCallId: () => string
  readonly termsOf: (stored: StoredFunc) => Terms
  readonly byId: (funcId: string) => StoredFunc | null
  readonly revision: (funcId: string, revision: number) => StoredFunc | null
  readonly sendAssignment: (agentId: string, assignment: Assignment) => void
}

/** What an empty input costs: its map's entry, id, object, array and the buffer's own head. */
const ENTRY_BYTES = 512
/** Beside its characters, which take two bytes each at the most. */
const TEXT_BYTES = 32

const bytesOf = ({ payload, environment }: Input): number =>
  environment.reduce((sum, { length }) => sum + TEXT_BYTES + 2 * length, 0) +
  ENTRY_BYTES +
  payload.byteLength

/** Inputs at hand, the oldest dropped first. */
const createInputs = () => {
  const inputs = new Map<string, Input>()
  let bytes = 0
  const drop = (callId: string): void => {
    const input = inputs.get(callId)
    if (input === undefined) return
    inputs.delete(callId)
    bytes -= bytesOf(input)
  }
  return {
    get: (callId: string): Input | undefined => inputs.get(callId),
    drop,
    keep(callId: string, input: Input): void {
      inputs.set(callId, input)
      bytes += bytesOf(input)
      for (const oldest of inputs.keys()) {
        if (bytes <= limits.inputsBytesMax && inputs.size <= limits.inputsMax) return
        drop(oldest)
      }
    },
  }
}

const assignmentOf = (key: AttemptKey, stored: StoredFunc, input: Input): Assignment => {
  const { func } = stored
  return {
    key,
    func: { id: stored.id, name: func.Name, revision: func.Revision },
    entrypoint: func.Config.Entrypoint,
    cmd: func.Config.Cmd,
    environment: [
      ...input.environment,
      `HYPER_CALL_ID=${key.call}`,
      `HYPER_FUNC_NAME=${func.Name}`,
      `HYPER_ATTEMPT=${key.attempt}`,
    ],
    stopSignal: func.Config.StopSignal,
    ...preparationOf(stored),
    timeoutMs: func.Timeout * 1000,
    atMostOnce: func.AtMostOnce,
    payload: input.payload,
  }
}

export const createIntake = (deps: Deps): Intake => {
  const { ledger, apply } = deps
  const inputs = createInputs()

  /** The function as it is now: it may have changed, or gone, while the body was coming. */
  const admit = (request: CallRequest): StoredFunc => {
    if (deps.isStopping()) throw new HyperError('STOPPING', 'the coordinator is stopping')
    const account = ledger.accounts.get(request.stored.accountId)
    const stored = deps.byId(request.stored.id)
    if (account === undefined || stored === null) {
      throw new HyperError('FUNC_NOT_FOUND', 'no such function')
    }
    if (account.waiting >= limits.queuedCallsMax) {
      throw new HyperError('QUEUE_FULL', `the queue is full: ${account.waiting} calls wait`)
    }
    const bytes = account.payloadBytes + request.payload.byteLength
    if (bytes > limits.livePayloadBytesMax) {
      throw new HyperError('QUEUE_FULL', `the queue is full: ${bytes} bytes of payloads`)
    }
    return stored
  }

  const readInput = async (callId: string, seq: number): Promise<Input> => {
    const bytes = await deps.store.body('input', numberKey(seq))
    if (bytes === undefined) {
      throw new HyperError('STATE_DAMAGED', `the input of ${callId} is missing`)
    }
    return decodeInput(bytes)
  }

  /** It holds a lease already, or few of its account's calls wait before it. */
  const isSoon = (callId: string): boolean => {
    const call = ledger.calls.get(callId)
    if (call?.state !== 'queued') return call !== undefined
    const account = ledger.accounts.get(call.terms.accountId)
    return account !== undefined && account.waiting <= limits.inputsAheadMax
  }

  /** The lease may have ended while the payload was read. */
  const send = (agentId: string, key: AttemptKey, terms: Terms, input: Input): void => {
    const lease = ledger.leases.get(attemptName(key))
    if (lease === undefined) return
    if (lease.isOver) {
      apply({ type: 'gone', agentId, key })
      return
    }
    const stored = deps.revision(terms.funcId, terms.revision)
    if (stored === null) {
      apply({ type: 'unassignable', key, message: 'the function’s revision is missing' })
      return
    }
    deps.sendAssignment(agentId, assignmentOf(key, stored, input))
  }

  return {
    accept(request, isSync) {
      const stored = admit(request)
      const id = deps.newCallId()
      const { payload, environment } = request
      inputs.keep(id, { payload, environment: [...environment] })
      apply({
        type: 'accept',
        id,
        terms: deps.termsOf(stored),
        sync: isSync,
        payload,
        environment,
        note: request.note,
      })
      if (!isSoon(id)) inputs.drop(id)
      return id
    },
    assign(agentId, key, terms, seq) {
      const input = inputs.get(key.call)
      if (input !== undefined) {
        send(agentId, key, terms, input)
        return
      }
      readInput(key.call, seq).then(
        (read) => send(agentId, key, terms, read),
        (error: unknown) => apply({ type: 'unassignable', key, message: messageOf(error) }),
      )
    },
    forget: (callId) => inputs.drop(callId),
  }
}
