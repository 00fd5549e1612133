/**
 * One measurement in a fresh process, told as JSON on STDOUT.
 *
 * memory         a million calls as acceptance leaves them: bytes of each, after collection
 * start FOLDER   the state folder opened, loaded and verified: how long, and what a call weighs then
 */

import { createCaches } from '../coordinator/caches.ts'
import { createLedger } from '../coordinator/ledger/step.ts'
import { loadLedger } from '../coordinator/load.ts'
import { openStore } from '../coordinator/store/store.ts'
import { createLedgerBench, termsOf } from './ledger-bench.ts'

const CALLS = 1_000_000

const memoryBytes = (): number => {
  if (globalThis.gc === undefined) throw new Error('needs --expose-gc')
  for (let times = 0; times < 3; times += 1) globalThis.gc()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

const memory = () => {
  const bench = createLedgerBench()
  const terms = bench.account('a1', 1)
  const before = memoryBytes()
  bench.accept(terms, CALLS)
  const bytesPerCall = Math.round((memoryBytes() - before) / bench.ledger.calls.size)
  return { calls: bench.ledger.calls.size, bytesPerCall }
}

const start = async (folder: string) => {
  const before = memoryBytes()
  const startMs = performance.now()
  const store = await openStore(folder)
  const openMs = performance.now() - startMs
  const ledger = createLedger(2, 0)
  const caches = createCaches()
  const terms = new Map<string, ReturnType<typeof termsOf>>()
  const lookUp = (funcId: string) => {
    const known = terms.get(funcId) ?? termsOf(funcId.split('-')[0] ?? '', funcId)
    terms.set(funcId, known)
    return known
  }
  const accounts = [{ id: 'a1', quota: 1 }]
  await loadLedger(store, ledger, caches, accounts, lookUp, 0)
  const loadMs = performance.now() - startMs
  await store.verify()
  const wholeMs = performance.now() - startMs
  // Of all threads, for a machine that has other things to do.
  const { user, system } = process.cpuUsage()
  const cpuMs = (user + system) / 1_000
  const { size } = ledger.calls
  // With the books of the log lines, which are the caches' own.
  const bytesPerCall = Math.round((memoryBytes() - before) / size)
  const rssMiB = Math.round(process.memoryUsage.rss() / 1024 / 1024)
  await store.close()
  return { calls: size, openMs, loadMs, wholeMs, cpuMs, bytesPerCall, rssMiB }
}

const [, , what, folder = ''] = process.argv
console.log(JSON.stringify(what === 'memory' ? memory() : await start(folder)))
