/** Faults planted in the ledger: what is decided. */

import { bug, edit, type PlantedBug } from './planted-bug.ts'

export const PLANTED_IN_LEDGER: readonly PlantedBug[] = [
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
      '    markOver(lease)\n',
      '    markOver(lease)\n    const account = ledger.accounts.get(lease.terms.accountId)\n    if (account !== undefined) account.leases -= 1\n',
    ),
  ),
  bug(
    'a call that returns goes to the end of the queue',
    'churn',
    ['invariant 2', 'assertion'],
    edit(
      'coordinator/ledger/queue.ts',
      '    giveBack(item) {\n      returned.push(item)',
      '    giveBack(item) {\n      fresh.push(item)',
    ),
  ),
  bug(
    'a call that is set aside is forgotten',
    'churn',
    ['invariant 9', 'invariant 1'],
    edit(
      'coordinator/ledger/aside.ts',
      '  ledger.aside.push({ call, untilMs: delay.asideUntilMs })\n',
      '',
    ),
  ),
  bug(
    'a call that was cancelled while it waited is started',
    // Not with functions that leave: with this fault their removal never ends.
    'large',
    ['cancelled calls', 'assertion', 'invariant'],
    edit(
      'coordinator/ledger/ending.ts',
      "  setState(ledger, call, 'ended')\n  if (!wasQueued) return\n",
      "  if (!wasQueued) {\n    setState(ledger, call, 'ended')\n    return\n  }\n",
    ),
  ),
  bug(
    'a call that has ended can end again',
    'crash',
    ['invariant 1', 'assertion'],
    edit('coordinator/ledger/ending.ts', '  ledger.calls.delete(call)\n', ''),
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
      "  endReservation(ledger, account.id)\n  writeCall(call, effects)\n  effects.push({ type: 'assign'",
      "  endReservation(ledger, account.id)\n  effects.push({ type: 'assign'",
    ),
  ),
  bug(
    'the input is removed when the call is granted',
    'crash',
    ['nothing mislaid', 'assertion'],
    edit(
      'coordinator/ledger/dispatch.ts',
      "  writeCall(call, effects)\n  effects.push({ type: 'assign'",
      "  writeCall(call, effects)\n  effects.push({ type: 'write', operation: { type: 'del-body', kind: 'input', key: call.seq.toString().padStart(16, '0') } })\n  effects.push({ type: 'assign'",
    ),
  ),
  bug(
    'a reservation never ends',
    'calm',
    ['invariant 9', 'assertion'],
    edit(
      'coordinator/ledger/reservations.ts',
      '    if (!isOver && isStanding(ledger, reservation)) continue\n',
      '    if (!isOver || isStanding(ledger, reservation)) continue\n',
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
    edit(
      'coordinator/ledger/books.ts',
      '  if (holdsNoLease(call.state)) account.waiting -= 1\n',
      '',
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
    'all',
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
]
