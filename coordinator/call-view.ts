/**
 * The gateway's view of calls: live ones from the ledger, ended ones from their history rows.
 * What changes a call is passed on to intake.ts, answers.ts and the ledger.
 */

import { assert } from '../protocol/assert.ts'
import { type CallState, statusOf } from '../protocol/call.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'
import type { Answers } from './answers.ts'
import type { Caches } from './caches.ts'
import type { Intake } from './intake.ts'
import { acceptedOf } from './ledger/calls.ts'
import { createExplain, reasonOfFunc, waitOf } from './ledger/reasons.ts'
import type { Call, Ledger, LedgerEvent } from './ledger/state.ts'
import type { Calls, CallView, ListedCall, StoredFunc } from './ports.ts'
import { parseHistoryRow, rowKey } from './rows.ts'
import { createStderrReader } from './stderr.ts'
import type { Store } from './store/store.ts'

interface Deps {
  readonly ledger: Ledger
  readonly caches: Caches
  readonly store: Pick<Store, 'get' | 'body' | 'range'>
  readonly intake: Intake
  readonly answers: Answers
  readonly apply: (event: LedgerEvent) => void
  readonly settled: () => Promise<void>
  readonly byId: (funcId: string) => StoredFunc | null
}

const stateOf = ({ state }: Call): CallState => {
  assert(state !== 'ended', 'a live call has not ended')
  return state === 'queued' || state === 'aside' ? 'pending' : state
}

export const createCalls = (deps: Deps): Calls => {
  const { ledger, caches, answers, intake } = deps

  const messageOf = (call: Call, explain = createExplain(ledger)): string | null => {
    const { text } = waitOf(ledger, call, explain)
    return text === '' ? null : text
  }

  const liveOf = (funcId: string, callId: string): Call | undefined => {
    const call = ledger.calls.get(callId)
    return call?.terms.funcId === funcId ? call : undefined
  }

  const viewOf = (call: Call): CallView => ({
    id: call.id,
    funcId: call.terms.funcId,
    state: stateOf(call),
    created: acceptedOf(call),
    position:
      call.state === 'queued'
        ? (ledger.accounts.get(call.terms.accountId)?.queue.countBefore(call.seq) ?? 0)
        : 0,
    message: messageOf(call),
  })

  const listLive = (
    funcId: string,
    limit: number,
    beforeSeq: number,
  ): (ListedCall & { seq: number })[] => {
    const explain = createExplain(ledger)
    const page = ledger.counts.get(funcId)?.calls.pageBefore(beforeSeq, limit) ?? []
    return page.map((call) => ({
      seq: call.seq,
      callId: call.id,
      created: acceptedOf(call),
      status: statusOf(stateOf(call)),
      message: messageOf(call, explain),
    }))
  }

  const listEnded = async (
    funcId: string,
    limit: number,
    beforeSeq: number,
  ): Promise<(ListedCall & { seq: number })[]> => {
    const found: (ListedCall & { seq: number })[] = []
    const range = { gt: `${funcId}/`, lt: rowKey(funcId, beforeSeq), reverse: true, limit }
    for await (const [, value] of deps.store.range('history', range)) {
      const row = parseHistoryRow(value)
      found.push({
        seq: row.seq,
        callId: row.id,
        created: row.accepted,
        status: statusOf(row.outcome.state),
        message: row.outcome.message === '' ? null : row.outcome.message,
      })
    }
    return found
  }

  const seqOf = async (funcId: string, callId: string): Promise<number> => {
    const seq = liveOf(funcId, callId)?.seq ?? (await answers.historyOf(callId))?.seq
    if (seq === undefined) throw new HyperError('CALL_NOT_FOUND', `no such call: ${callId}`)
    return seq
  }

  return {
    async accept(request) {
      const id = intake.accept(request, false)
      await deps.settled()
      return id
    },
    acceptSync(request) {
      const callId = intake.accept(request, true)
      return { callId, answer: answers.wait(callId, null) }
    },
    async find(funcId, callId) {
      const call = liveOf(funcId, callId)
      if (call !== undefined) {
        const view = viewOf(call)
        // A decision that a crash would forget is told to nobody.
        await deps.settled()
        return view
      }
      const row = await answers.historyOf(callId)
      if (row?.funcId !== funcId) return null
      const told = { id: callId, funcId, created: row.accepted, position: 0 }
      if (answers.isAway(callId)) {
        return { ...told, state: 'running', message: 'its output is still with its agent' }
      }
      return { ...told, state: row.outcome.state, message: row.outcome.message }
    },
    async funcOf(account, callId) {
      const funcId =
        ledger.calls.get(callId)?.terms.funcId ?? (await answers.historyOf(callId))?.funcId
      const stored = funcId === undefined ? null : deps.byId(funcId)
      return stored?.accountId === account.id ? stored : null
    },
    async answer(funcId, callId) {
      return liveOf(funcId, callId) === undefined ? answers.read(funcId, callId) : null
    },
    async waitForAnswer(funcId, callId, signal) {
      if (liveOf(funcId, callId) !== undefined || answers.isAway(callId)) {
        await answers.wait(callId, signal)
      }
      const answer = await answers.read(funcId, callId)
      if (answer === null) throw new HyperError('CALL_NOT_FOUND', `no such call: ${callId}`)
      return answer
    },
    stderr: createStderrReader({ caches, store: deps.store, historyOf: answers.historyOf }),
    delivered: answers.delivered,
    undelivered: answers.undelivered,
    async cancel(funcId, callId) {
      const view = await this.find(funcId, callId)
      if (view === null) throw new HyperError('CALL_NOT_FOUND', `no such call: ${callId}`)
      if (liveOf(funcId, callId) === undefined) {
        throw new HyperError('CALL_FINAL', `the call has ended: ${callId}`)
      }
      deps.apply({ type: 'cancel', callId })
      await deps.settled()
    },
    counts(funcId) {
      const { pending, running } = ledger.counts.get(funcId) ?? { pending: 0, running: 0 }
      return { pending, running, ...caches.counts(funcId) }
    },
    whyWaiting(funcId) {
      const reason = reasonOfFunc(ledger, funcId, limits.reasonSearchMax)
      return reason === '' ? null : reason
    },
    async list(funcId, limit, before) {
      const beforeSeq = before === null ? Number.MAX_SAFE_INTEGER : await seqOf(funcId, before)
      const ended = await listEnded(funcId, limit, beforeSeq)
      return [...listLive(funcId, limit, beforeSeq), ...ended]
        .sort((a, b) => b.seq - a.seq)
        .slice(0, limit)
        .map(({ seq: _seq, ...listed }) => listed)
    },
  }
}
