/** Faults planted in the agent. */

import { bug, edit, type PlantedBug } from './planted-bug.ts'

export const PLANTED_IN_AGENT: readonly PlantedBug[] = [
  bug(
    'an entry of the outbox goes when it is written',
    'calm',
    ['promise 6'],
    edit(
      'agent/attempt.ts',
      "attempt.isAcknowledged ? [{ type: 'delete', key } as const] : []",
      "[{ type: 'delete', key } as const]",
    ),
  ),
  bug(
    'a container is removed before its result is in the outbox',
    'disk',
    ['promise 6'],
    edit(
      'agent/attempt.ts',
      '    : only(next, ...account)',
      "    : only(next, { type: 'remove', key, isBusy: true }, ...account)",
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
    'an attempt that is cancelled throws the result away that it has in hand',
    'crash',
    ['promise 6'],
    edit('agent/recovery.ts', 'return insisting(closing, readEnded)', 'return null'),
  ),
  bug(
    'containers are swept only when the engine comes up',
    'crash',
    ['invariant 9'],
    edit('agent/attempts.ts', 'sweep: () => onEngine(engine.isUp()),', 'sweep: () => undefined,'),
  ),
  bug(
    'a container that stands ready is given to two calls',
    'calm',
    ['invariant 4', 'invariant 5'],
    edit('agent/pool.ts', 'const ready = kind.ready.shift()', 'const ready = kind.ready[0]'),
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
]
