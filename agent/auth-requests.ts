/**
 * Credentials of registries, asked of the coordinator for one pull that an attempt needs:
 *
 *   ask ─► asked ─► answered, or given up: nobody answered in time, or its call is not wanted any more
 *
 * They are handed to who asked, and kept nowhere. Attempts ask once for each pull; an answer that
 * nobody waits for is dropped.
 */

import { raceAbort } from '../protocol/abort.ts'
import { type AttemptKey, attemptName } from '../protocol/call.ts'
import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

/** The value of X-Registry-Auth; '' where the account has none. PULL_FAILED where nobody answers. */
export type AskAuth = (signal: AbortSignal) => Promise<string>

export interface AuthRequests {
  ask(key: AttemptKey, signal: AbortSignal): Promise<string>
  answer(key: AttemptKey, auth: string): void
}

export const createAuthRequests = (send: (key: AttemptKey) => void): AuthRequests => {
  const waiting = new Map<string, (auth: string) => void>()

  return {
    async ask(key, signal) {
      const name = attemptName(key)
      const { promise, resolve } = Promise.withResolvers<string>()
      const late = new AbortController()
      const timer = setTimeout(() => {
        late.abort(
          new HyperError('PULL_FAILED', 'the coordinator sent no credentials for the pull'),
        )
      }, limits.registryAuthMs)
      waiting.set(name, resolve)
      try {
        send(key)
        return await raceAbort(promise, AbortSignal.any([signal, late.signal]))
      } finally {
        clearTimeout(timer)
        if (waiting.get(name) === resolve) waiting.delete(name)
      }
    },
    answer: (key, auth) => waiting.get(attemptName(key))?.(auth),
  }
}
