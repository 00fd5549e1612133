/**
 * From the rows on disk to the books of the caches, at start, and to the bodies that are owed to
 * synchronous clients. Rows only: no body is read. A row that has lost what it belongs to is told
 * (losses.ts) and left out.
 */

import { limits } from '../protocol/limits.ts'
import type { Caches } from './caches.ts'
import type { Ledger } from './ledger/state.ts'
import { parseLogKey } from './log-key.ts'
import type { OnLoss } from './losses.ts'
import { parseHistoryRow, parseOutputRow, parseOwedRow, rowKey } from './rows.ts'
import { del, delBody, type Operation, type Store } from './store/store.ts'

interface Deps {
  readonly store: Pick<Store, 'scan' | 'scanKeys'>
  readonly ledger: Ledger
  readonly caches: Caches
  readonly hasFunc: (funcId: string) => boolean
  readonly onLoss: OnLoss
  readonly nowMs: number
}

const funcOf = (key: string): string => key.slice(0, key.indexOf('/'))
const seqOf = (key: string): number => Number(key.slice(key.indexOf('/') + 1))

/** Ids of calls whose body is owed. */
const loadHistory = async (deps: Deps): Promise<ReadonlySet<string>> => {
  const { store, ledger, caches, hasFunc, onLoss } = deps
  const debts = new Map<string, ReturnType<typeof parseOwedRow>>()
  const owed = new Set<string>()
  await store.scan('owed', (callId, value) => void debts.set(callId, parseOwedRow(value)))
  await store.scan('history', (key, value) => {
    const row = parseHistoryRow(value)
    if (!hasFunc(row.funcId) || key !== rowKey(row.funcId, row.seq)) {
      const operations = [del('history', key), del('callid', row.id)]
      onLoss({ what: `the history row of ${row.id} has lost its function`, operations })
      return
    }
    caches.restoreHistory(row)
    const debt = debts.get(row.id)
    if (debt === undefined) return
    debts.delete(row.id)
    owed.add(row.id)
    const untilMs = deps.nowMs + limits.historyMs
    ledger.owed.set(row.id, { ...debt, row, isInherited: true, untilMs })
  })
  for (const callId of debts.keys()) {
    const operations = [del('owed', callId)]
    onLoss({ what: `the owed output of ${callId} has lost its history row`, operations })
  }
  return owed
}

const loadOutputs = async ({ store, caches, onLoss }: Deps): Promise<ReadonlySet<string>> => {
  await store.scan('output', (key, value) => {
    if (caches.restoreOutput(funcOf(key), seqOf(key), parseOutputRow(value))) return
    const operations = [del('output', key), delBody('stdout', key)]
    onLoss({ what: `the output ${key} has lost its history row`, operations })
  })
  const fetched = new Set<string>()
  await store.scan('fetched', (key) => {
    if (caches.hasRestored(funcOf(key), seqOf(key))) fetched.add(key)
    else onLoss({ what: `${key} was fetched and is not there`, operations: [del('fetched', key)] })
  })
  return fetched
}

const loadLogs = async ({ store, caches, hasFunc, onLoss }: Deps): Promise<void> => {
  const strays = new Map<string, Operation[]>()
  await store.scanKeys('log', (key) => {
    const { funcId, line } = parseLogKey(key)
    if (hasFunc(funcId)) {
      caches.restoreLog(funcId, line)
      return
    }
    const operations = strays.get(funcId) ?? []
    strays.set(funcId, operations)
    operations.push(del('log', key))
    if (line.end !== null) operations.push(delBody('stderr', rowKey(funcId, line.end.seq)))
  })
  for (const [funcId, operations] of strays) {
    onLoss({ what: `the log of ${funcId} has lost its function`, operations })
  }
}

/** Throws STATE_DAMAGED for a row that cannot be read. */
export const loadCaches = async (deps: Deps): Promise<void> => {
  const owed = await loadHistory(deps)
  const fetched = await loadOutputs(deps)
  await loadLogs(deps)
  deps.caches.finishRestore(owed, fetched, deps.nowMs)
}
