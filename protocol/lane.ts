/**
 * Which messages may overtake which on a channel (mesh/waiting.ts). Small ones go first, so that
 * heartbeats, verdicts, cancels and acknowledgements do not wait behind payloads and outputs:
 *
 *   bulk   assign, result; what may wait as well: progress and ends of pulls; leave, as the last word
 *   small  all others
 *
 * Each lane keeps its order, and so does what is about one attempt, whatever its lane: a cancel that
 * came before its assign would be answered `gone`, and the attempt would run all the same; a `gone`
 * before its result would end an at-most-once call as lost. What else is overtaken rests on no order:
 * an assign that a `drain` has passed is refused, which says that it never started; a heartbeat
 * renews only what it names, and does not name what has a result; and an acknowledgement answers what
 * has come.
 */

import { type AttemptKey, attemptName } from './call.ts'
import type { AgentMessage, CoordinatorMessage } from './messages.ts'

export interface Lane {
  readonly isBulk: boolean
  /** What is about the same keeps its order; null: about nothing in particular. */
  readonly about: string | null
}

const aboutAttempt = (isBulk: boolean, key: AttemptKey): Lane => ({
  isBulk,
  about: attemptName(key),
})

export const laneOf = (message: AgentMessage | CoordinatorMessage): Lane => {
  switch (message.type) {
    case 'assign':
      return aboutAttempt(true, message.assignment.key)
    case 'result':
      return aboutAttempt(true, message.key)
    case 'cancel':
    case 'acknowledge':
    case 'started':
    case 'refused':
    case 'gone':
      return aboutAttempt(false, message.key)
    case 'pull-progress':
    case 'pull-end':
    case 'leave':
      return { isBulk: true, about: null }
    default:
      return { isBulk: false, about: null }
  }
}
