/** Faults planted in the coordinator beside its ledger: what is written, kept and answered. */

import { bug, edit, type PlantedBug } from './planted-bug.ts'

export const PLANTED_IN_CORE: readonly PlantedBug[] = [
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
    'a lease is never lost',
    'churn',
    ['invariant 9', 'invariant 1'],
    edit('protocol/limits.ts', 'leaseMarginRatio: 0.1,', 'leaseMarginRatio: 10_000,'),
  ),
  bug(
    'a rotated output stays counted',
    'large',
    ['invariant 7', 'assertion'],
    edit('coordinator/output-cache.ts', '    bytes -= size\n', ''),
  ),
  bug(
    'the assignment of an at-most-once call leaves before its acceptance is written',
    'disk',
    ['invariant 4'],
    edit('coordinator/transactions.ts', ' && !event.terms.atMostOnce && ', ' && '),
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
    'leases are forgotten at a restart',
    'crash',
    ['invariant 3', 'assertion'],
    edit('coordinator/load.ts', '    bookLease(ledger, lease)\n', ''),
  ),
  bug(
    'a removal that a crash broke off is not gone on with',
    'crash',
    ['functions that leave'],
    edit('coordinator/wiring.ts', '  books.funcs.finishRemovals().catch(deps.onFault)\n', ''),
  ),
  bug(
    'the epoch is not raised',
    'restore',
    ['epoch', 'invariant', 'assertion', 'promise', 'lease'],
    edit(
      'coordinator/epoch.ts',
      '  return Math.max(next, Math.min(wallSeconds, highest))',
      '  return Math.max(1, next - 1, Math.min(0, wallSeconds, highest))',
    ),
    edit(
      'coordinator/epoch.ts',
      'return Math.max(last, wallSeconds, told) + limits.raisedEpochGap',
      'return last',
    ),
  ),
  bug(
    'a restored coordinator starts at-most-once calls again',
    'restore',
    ['invariant 4 (at most once)'],
    edit(
      'coordinator/restored.ts',
      '[...atMostOnceCalls(ledger)]',
      '[...atMostOnceCalls(ledger)].slice(0, 0)',
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
