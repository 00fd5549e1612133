/**
 * A gateway in front of a real core (ledger, caches, intake, answers) on a disk in memory, with one
 * agent that ends every call as the test says: for what only the two together can get wrong.
 */

import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { createCore } from '../../coordinator/core.ts'
import { createLogs } from '../../coordinator/logs.ts'
import type { StoredFunc } from '../../coordinator/ports.ts'
import type { AttemptKey, AttemptResult } from '../../protocol/call.ts'
import type { Assignment } from '../../protocol/messages.ts'
import { createFakePorts, storedFunc, UUID } from './fake-ports.ts'
import { startTestGateway } from './gateway.ts'
import { createDisk, type Disk } from './ledger-disk.ts'
import { makeHello, makeResult, makeTerms } from './ledger-words.ts'

const AGENT = 'one'

/** What the function does with its payload; by default it is `cat`. */
type Run = (assignment: Assignment) => Partial<AttemptResult>

export const startCoreGateway = async (
  t: TestContext,
  options: { readonly disk?: Disk; readonly epoch?: number; readonly run?: Run } = {},
) => {
  const { disk = createDisk(), epoch = 1, run = ({ payload }) => ({ stdout: payload }) } = options
  const stored = storedFunc()
  const terms = makeTerms({ funcId: stored.id, accountId: stored.accountId })
  let current: StoredFunc | null = stored
  let nowMs = 0
  let lastSession = 0
  const held: (() => void)[] = []
  let isHolding = false
  const onFault = (error: unknown): void => {
    throw error
  }
  const acknowledged: AttemptKey[] = []
  const core = createCore({
    // A commit takes a while, so that requests come between a decision and its write.
    store: { ...disk, commit: (operations) => turn().then(() => disk.commit(operations)) },
    ...{ epoch, nowMs: () => nowMs, newCallId: randomUUID, onFault, isStopping: () => false },
    wall: () => '2017-03-16T07:05:24.473Z',
    funcs: () => ({
      byId: () => current,
      revision: () => current,
      has: () => current !== null,
      terms: () => terms,
    }),
    agents: () => ({
      assign(agentId, assignment) {
        const { key } = assignment
        const result = makeResult(key, 'FINISHED', run(assignment))
        const end = (): void => core.transactions.apply({ type: 'result', agentId, key, result })
        if (isHolding) held.push(end)
        else queueMicrotask(end)
      },
      send: (_agentId, order) => {
        if (order.type === 'acknowledge') acknowledged.push(order.key)
      },
      welcome: () => undefined,
    }),
    onLogged: (funcId, line) => logs.logged(funcId, line),
    onEnded: () => undefined,
  })
  const { apply, write, settled } = core.transactions
  const logs = createLogs({ store: disk, span: core.caches.logSpan })
  await core.load([{ id: stored.accountId, quota: 100 }])
  const fake = createFakePorts()
  const byUrl = (name: string, uuid: string) =>
    name === stored.func.Name && uuid === UUID ? current : null
  const ports = { ...fake.ports, calls: core.calls, logs, funcs: { ...fake.ports.funcs, byUrl } }
  const gateway = await startTestGateway(t, { ...fake, ports })
  const connect = (outbox: AttemptKey[] = []): void => {
    lastSession += 1
    const hello = makeHello({ slots: 100, outbox })
    apply({ type: 'connect', agentId: AGENT, name: AGENT, session: lastSession, hello })
  }
  connect()
  return {
    ...{ core, disk, url: gateway.url, open: gateway.open, acknowledged, connect, settled },
    pathOf: (callId: string): string => `/output/${stored.func.Name}/${UUID}/${callId}`,
    callPath: `/call/${stored.func.Name}/${UUID}`,
    logPath: `/logs/${stored.func.Name}/${UUID}`,
    /** An asynchronous call, ended. */
    async call(payload: Uint8Array): Promise<string> {
      const request = { stored, payload, environment: [], note: '' }
      const callId = await core.calls.accept(request)
      await core.calls.waitForAnswer(stored.id, callId, new AbortController().signal)
      return callId
    },
    /** Whether an end is told at once, or when this is called again with false. */
    hold(isHeld: boolean): void {
      isHolding = isHeld
      if (!isHeld) for (const end of held.splice(0)) end()
    },
    pass(ms: number): void {
      nowMs += ms
      core.tick()
    },
    async remove(): Promise<void> {
      current = null
      apply({ type: 'remove-func', funcId: stored.id })
      for (const part of core.caches.removeFunc(stored.id)) await write(part)
    },
  }
}

export type CoreGateway = Awaited<ReturnType<typeof startCoreGateway>>
