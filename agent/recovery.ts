/**
 * After a restart of the agent: its containers by label. One that an earlier process wrote a note
 * of is waited for, and its result read from its log, where header and trailer on both streams
 * prove it whole. Those that nobody knows, or needs any more, are removed. Streams are not attached
 * again: what was written before would be missing.
 */

import type { Log } from '../daemon/log.ts'
import { type AttemptResult, attemptName } from '../protocol/call.ts'
import { limits } from '../protocol/limits.ts'
import { type EndedAttempt, resultOf } from './classify.ts'
import { overdueMs } from './container.ts'
import { type Engine, untilUp } from './engine.ts'
import { createStreamParser } from './init/frame.ts'
import { insist } from './insist.ts'
import { startLongTimer } from './long-timer.ts'
import type { DeriveNonces } from './nonces.ts'
import type { Note } from './outbox.ts'
import type { OwnContainer, Runner } from './runner/runner.ts'

export interface RecoveryDeps {
  readonly engine: Pick<Engine, 'facts' | 'isUp' | 'onChange'>
  readonly runner: Runner
  readonly nonces: DeriveNonces
  readonly log: Log
}

const createStreams = (nonces: DeriveNonces, note: Note) => {
  const { call: callId, attempt } = note.key
  const identity = { ...nonces(note.container), callId, attempt }
  return {
    stdout: createStreamParser({ ...identity, bytesMax: limits.stdoutBytesMax }),
    stderr: createStreamParser({ ...identity, bytesMax: limits.stderrBytesMax }),
  }
}

/** A container that was noted is waited for, and its result read back. Null: it was cancelled. */
export const adopt = async (
  deps: RecoveryDeps,
  note: Note,
  stop: AbortSignal,
): Promise<AttemptResult | null> => {
  const startedAt = performance.now()
  const account = (ended: Pick<EndedAttempt, 'stdout' | 'stderr' | 'container' | 'endedBy'>) =>
    resultOf({
      ...ended,
      ...{ command: note.command, imagePlatform: note.imagePlatform, timeoutMs: note.timeoutMs },
      enginePlatform: deps.engine.facts()?.platform ?? '',
      ...{ startMs: 0, runMs: performance.now() - startedAt },
    })
  let endedAt: number | null = null
  const overdue = new AbortController()
  const signal = AbortSignal.any([stop, overdue.signal])
  const timer = startLongTimer(overdueMs(note.timeoutMs), () => overdue.abort())
  try {
    const what = 'a call that was left cannot be read back yet'
    const ready = (): Promise<void> => untilUp(deps.engine, signal)
    return await insist({ what, log: deps.log, signal, ready }, async () => {
      const { stdout, stderr } = createStreams(deps.nonces, note)
      if (note.container === '') return account({ stdout, stderr, container: null, endedBy: null })
      await deps.runner.waitForEnd(note.container, signal)
      const container = await deps.runner.state(note.container, signal)
      endedAt ??= performance.now()
      try {
        await deps.runner.readLog(
          note.container,
          { onStdout: (chunk) => stdout.push(chunk), onStderr: (chunk) => stderr.push(chunk) },
          signal,
        )
      } catch (error) {
        // An engine that answers, and never gives the log: what it kept is lost.
        if (performance.now() - endedAt < limits.readBackMs) throw error
      }
      stdout.end()
      stderr.end()
      return account({ stdout, stderr, container, endedBy: null })
    })
  } catch (error) {
    if (!signal.aborted) throw error
    if (stop.aborted && stop.reason === 'cancel') return null
    const endedBy = overdue.signal.aborted ? 'overdue' : 'leaving'
    return account({ ...createStreams(deps.nonces, note), container: null, endedBy })
  } finally {
    timer.cancel()
  }
}

const attemptOf = ({ labels }: OwnContainer): string =>
  attemptName({
    call: labels['hyper.call'] ?? '',
    attempt: Number(labels['hyper.attempt']),
    epoch: Number(labels['hyper.epoch']),
  })

/** Removes every container of this agent that no attempt needs. Returns how many. */
export const sweep = async (
  deps: RecoveryDeps,
  isNeeded: (attempt: string) => boolean,
  signal: AbortSignal,
): Promise<number> => {
  const own = await deps.runner.list(signal)
  const left = own.filter((container) => !isNeeded(attemptOf(container)))
  for (const container of left) await deps.runner.remove(container.id, signal)
  return left.length
}
