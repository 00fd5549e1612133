/**
 * Faults planted in the shipped source, one at a time, to see that the checker finds them. Each is
 * a change of text that must apply exactly once: where the source moves on, the list must follow.
 */

import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'

interface Edit {
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface PlantedBug {
  readonly name: string
  readonly edits: readonly Edit[]
  /** Seeds of this profile are run. */
  readonly profile: string
  /** What may find it: the start of an invariant's name. */
  readonly foundBy: readonly string[]
}

const ROOT = new URL('../../', import.meta.url)

const bug = (
  name: string,
  profile: string,
  foundBy: readonly string[],
  ...edits: readonly Edit[]
): PlantedBug => ({ name, profile, foundBy, edits })

const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace })

export const PLANTED: readonly PlantedBug[] = [
  bug(
    'a result is committed from a stranger',
    'network',
    ['invariant 6', 'invariant 5', 'assertion'],
    edit(
      'coordinator/ledger/grants.ts',
      'call.granted.find((grant) => isOf(grant, key) && grant.agentId === agentId)',
      'call.granted.find((grant) => isOf(grant, key) || agentId !== grant.agentId)',
    ),
  ),
  bug(
    'the quota is released when a call is cancelled',
    'churn',
    ['invariant 3', 'assertion'],
    edit(
      'coordinator/ledger/ending.ts',
      '    lease.isOver = true\n',
      '    lease.isOver = true\n    const account = ledger.accounts.get(lease.terms.accountId)\n    if (account !== undefined) account.leases -= 1\n',
    ),
  ),
  bug(
    'a call that returns goes to the end of the queue',
    'churn',
    ['invariant 2', 'assertion'],
    edit('coordinator/ledger/queue.ts', 'returned.push(item)', 'fresh.push(item)'),
  ),
  bug(
    'a result is acknowledged before the sync',
    'disk',
    ['promise 6'],
    edit(
      'coordinator/transactions.ts',
      '        afterwards.push(() => tell(effect))',
      "        if (effect.type === 'send') tell(effect)\n        else afterwards.push(() => tell(effect))",
    ),
  ),
  bug(
    'a call is told to be accepted before the sync',
    'disk',
    ['promise 1'],
    edit(
      'coordinator/call-view.ts',
      'const id = intake.accept(request, false)\n      await deps.settled()\n',
      'const id = intake.accept(request, false)\n',
    ),
  ),
  bug(
    'what is to be said after the commit is said before it',
    'disk',
    ['promise 1', 'promise 6', 'invariant'],
    edit(
      'coordinator/commit-loop.ts',
      'if (operations.length > 0) await commit(operations)\n      for (const transition of batch) transition.afterwards()',
      'for (const transition of batch) transition.afterwards()\n      if (operations.length > 0) await commit(operations)',
    ),
  ),
  bug(
    'an output counts as delivered when its delivery begins',
    'network',
    ['promise 9'],
    edit(
      'coordinator/answers.ts',
      "return (await store.body('stdout', rowKey(row.funcId, row.seq))) ?? null",
      "deps.record(caches.markDelivered(row.funcId, row.seq, deps.nowMs()))\n    return (await store.body('stdout', rowKey(row.funcId, row.seq))) ?? null",
    ),
  ),
  bug(
    'a call that is set aside is forgotten',
    'churn',
    ['invariant 9', 'invariant 1'],
    edit(
      'coordinator/ledger/calls.ts',
      '  ledger.aside.push({ call, untilMs: call.asideUntilMs })\n',
      '',
    ),
  ),
  bug(
    'a call that was cancelled while it waited is started',
    'churn',
    ['cancelled calls', 'assertion', 'invariant'],
    edit(
      'coordinator/ledger/step.ts',
      "call.state === 'queued' && isLive(ledger, call)",
      "call.state === 'queued'",
    ),
  ),
  bug(
    'a call that has ended can end again',
    'crash',
    ['invariant 1', 'assertion'],
    edit('coordinator/ledger/ending.ts', '  ledger.calls.delete(call.id)\n', ''),
  ),
  bug(
    'a lease is lost without its margin',
    'network',
    ['lease'],
    edit(
      'coordinator/ledger/leases.ts',
      '  lease.renewedMs +\n  Math.round(lease.lengthMs * (1 + limits.leaseMarginRatio)) +\n  limits.leaseMarginMs',
      '  lease.renewedMs + lease.lengthMs',
    ),
  ),
  bug(
    'a lease is never lost',
    'churn',
    ['invariant 9', 'invariant 1'],
    edit('protocol/limits.ts', 'leaseMarginRatio: 0.1,', 'leaseMarginRatio: 10_000,'),
  ),
  bug(
    'a heartbeat renews no lease',
    'calm',
    ['lease', 'invariant'],
    edit(
      'coordinator/ledger/sessions.ts',
      '    } else if (lease !== undefined) {\n      renewLease(lease, nowMs)\n',
      '    } else if (lease !== undefined) {\n',
    ),
  ),
  bug(
    'an at-most-once call is given back when its lease is lost',
    'all',
    ['invariant 4'],
    edit('coordinator/ledger/lost.ts', 'if (!lease.terms.atMostOnce) {', 'if (lease.terms) {'),
    edit(
      'coordinator/ledger/lost.ts',
      'if (call.terms.atMostOnce || call.attemptsLost >= call.terms.maxAttempts) {',
      'if (call.attemptsLost >= call.terms.maxAttempts) {',
    ),
  ),
  bug(
    'an at-most-once call is run again after the platform failed it',
    'churn',
    ['invariant 4'],
    edit(
      'coordinator/ledger/retry.ts',
      'if (terms.atMostOnce || attemptsLost >= terms.maxAttempts)',
      'if (attemptsLost >= terms.maxAttempts)',
    ),
  ),
  bug(
    'a grant is not written with its call',
    'crash',
    ['invariant', 'promise', 'assertion', 'lease'],
    edit(
      'coordinator/ledger/dispatch.ts',
      '      endReservation(ledger, account.id)\n      writeCall(call, effects)\n',
      '      endReservation(ledger, account.id)\n',
    ),
  ),
  bug(
    'an entry of the outbox goes when it is written',
    'calm',
    ['promise 6'],
    edit(
      'agent/attempt.ts',
      "return attempt.isAcknowledged ? only(next, { type: 'delete', key }, remove) : only(next, remove)",
      "return only(next, { type: 'delete', key }, remove)",
    ),
  ),
  bug(
    'a container is removed before its result is in the outbox',
    'calm',
    ['promise 6'],
    edit(
      'agent/attempt.ts',
      "return only(next, { type: 'write', key, result }, ...report(state, key))",
      "return only(next, { type: 'remove', key }, { type: 'write', key, result }, ...report(state, key))",
    ),
  ),
  bug(
    'the frame is sent before the note is written',
    'calm',
    ['promise 6'],
    edit(
      'agent/call-run.ts',
      'await deps.outbox.putNote(note, assignment.atMostOnce)',
      'deps.outbox.putNote(note, assignment.atMostOnce).catch(() => undefined)',
    ),
  ),
  bug(
    'the note of an at-most-once call is not synced',
    'calm',
    ['promise 6'],
    edit(
      'agent/call-run.ts',
      'await deps.outbox.putNote(note, assignment.atMostOnce)',
      'await deps.outbox.putNote(note, false)',
    ),
  ),
  bug(
    'orders of an earlier session are obeyed',
    'network',
    ['invariant 4', 'invariant', 'promise'],
    edit(
      'agent/attempt.ts',
      'if (order.session !== state.session || order.epoch < state.epoch) return only(state)',
      'if (order.epoch < state.epoch) return only(state)',
    ),
  ),
  bug(
    'a rotated output stays counted',
    'large',
    ['invariant 7', 'assertion'],
    edit('coordinator/caches.ts', '    cache.outputBytes -= bytes\n', ''),
  ),
  bug(
    'the assignment of an at-most-once call leaves before its acceptance is written',
    'crash',
    ['invariant 4'],
    edit('coordinator/transactions.ts', ' && !event.terms.atMostOnce && ', ' && '),
  ),
  bug(
    'the input is removed when the call is granted',
    'crash',
    ['nothing mislaid', 'assertion'],
    edit(
      'coordinator/ledger/dispatch.ts',
      '      endReservation(ledger, account.id)\n      writeCall(call, effects)\n',
      "      endReservation(ledger, account.id)\n      writeCall(call, effects)\n      effects.push({ type: 'write', operation: { type: 'del-body', kind: 'input', key: call.seq.toString().padStart(16, '0') } })\n",
    ),
  ),
  bug(
    'a reservation never ends',
    'calm',
    ['invariant 9', 'assertion'],
    edit(
      'coordinator/ledger/reservations.ts',
      '    if (!isOver && isStanding(ledger, call, agent, nowMs)) continue\n',
      '    if (!isOver || isStanding(ledger, call, agent, nowMs)) continue\n',
    ),
    edit(
      'coordinator/ledger/reservations.ts',
      '  if (reservation === undefined) return\n  ledger.reservations.delete(accountId)',
      '  if (reservation !== undefined) return\n  ledger.reservations.delete(accountId)',
    ),
  ),
  bug(
    'a call that ends while it waits stays counted as waiting',
    'churn',
    ['assertion', 'invariant'],
    edit('coordinator/ledger/calls.ts', '  account.waiting -= 1\n', ''),
  ),
  bug(
    'the grace of a delivered output is forgotten',
    'network',
    ['promise 9', 'invariant 9'],
    edit(
      'coordinator/caches.ts',
      '      graces.set(key, { funcId, seq, untilMs: nowMs + limits.deliveredGraceMs })\n      return [put(',
      '      return [put(',
    ),
  ),
  bug(
    'a container that left no trailer counts as finished',
    'churn',
    ['invariant 5'],
    edit(
      'agent/classify.ts',
      "if (container === null) return verdict('AGENT_LOST', 'its container is gone')",
      "if (container === null) return verdict('FINISHED', '', 0)",
    ),
  ),
  bug(
    'leases are forgotten at a restart',
    'crash',
    ['invariant 3', 'assertion'],
    edit('coordinator/load.ts', '    bookLease(ledger, lease)\n', ''),
  ),
  bug(
    'the epoch is not raised',
    'crash',
    ['epoch', 'invariant', 'assertion', 'promise', 'lease'],
    edit(
      'coordinator/load.ts',
      'const epoch = Math.max(last + 1, Math.floor(wallMs / 1000))',
      'const epoch = Math.max(last, wallMs > 0 ? 1 : 0)',
    ),
  ),
  bug(
    'a body that is owed is acknowledged at once',
    'network',
    ['promise 6', 'promise 9'],
    edit(
      'coordinator/ledger/results.ts',
      'if (!ledger.owed.has(call.id)) acknowledge(ledger, agentId, key, effects)',
      'acknowledge(ledger, agentId, key, effects)',
    ),
  ),
  bug(
    'a body that is told again is not kept',
    'crash',
    ['invariant 9', 'promise 6'],
    edit(
      'coordinator/ledger/results.ts',
      '    keepOwed(ledger, agentId, key, result, effects)\n    acknowledge',
      '    acknowledge',
    ),
  ),
  bug(
    'what an agent with a new store does not name never started',
    'churn',
    ['invariant 4'],
    edit(
      'coordinator/ledger/sessions.ts',
      'else if (lease.storeId === hello.storeId)',
      "else if (lease.storeId !== '')",
    ),
  ),
  bug(
    'a revision goes while calls need it',
    'churn',
    ['nothing mislaid', 'assertion'],
    edit(
      'coordinator/funcs.ts',
      'stored !== entry.current && deps.liveCalls(funcId, stored.func.Revision) === 0,',
      'stored !== entry.current,',
    ),
  ),
  bug(
    'a call is run as the newest revision of its function',
    'churn',
    ['invariant 5'],
    edit(
      'coordinator/intake.ts',
      'const stored = deps.revision(terms.funcId, terms.revision)',
      'const stored = deps.byId(terms.funcId)',
    ),
  ),
]

/** The text with the change made. Throws where it does not apply exactly once. */
export const applyEdit = (text: string, { file, find, replace }: Edit): string => {
  const parts = text.split(find)
  if (parts.length !== 2) {
    throw new Error(`${file} has ${parts.length - 1} times: ${find}`)
  }
  return parts.join(replace)
}

/** Modules that are loaded from now on have the fault. */
export const plant = ({ edits }: PlantedBug): void => {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      const own = edits.filter(({ file }) => url === new URL(file, ROOT).href)
      if (own.length === 0) return loaded
      const { source } = loaded
      const text = typeof source === 'string' ? source : Buffer.from(source ?? []).toString()
      return { ...loaded, source: own.reduce(applyEdit, text) }
    },
  })
}

export const pathOf = (file: string): string => fileURLToPath(new URL(file, ROOT))
