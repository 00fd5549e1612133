/**
 * A call whose streams were cut, or that an earlier process of the agent left: its note names the
 * container, which is waited for, and its result is read from its log, where header and trailer on
 * both streams prove it whole. Streams are not attached again: what was written before would be
 * missing.
 */

import type { Log } from '../daemon/log.ts'
import { type AttemptResult, isPlatformFailure } from '../protocol/call.ts'
import { limits } from '../protocol/limits.ts'
import { type EndedAttempt, isWhole, lostResult, resultOf } from './classify.ts'
import { type Cut, overdueMs, type Seen } from './container.ts'
import { type Engine, untilUp } from './engine.ts'
import { createStreamParser } from './init/frame.ts'
import { insist } from './insist.ts'
import { startLongTimer } from './long-timer.ts'
import type { DeriveNonces } from './nonces.ts'
import type { Note } from './outbox.ts'
import type { ContainerState, Runner } from './runner/runner.ts'

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

/** What ends the wait for a container that was left. */
export interface Ends {
  /** Aborted with a StopReason. */
  readonly stop: AbortSignal
  /** This process ends: the container and its note are the next one's. */
  readonly closing: AbortSignal
}

const createAccount = (deps: RecoveryDeps, note: Note) => {
  const startedAt = performance.now()
  return (ended: Pick<EndedAttempt, 'stdout' | 'stderr' | 'container' | 'endedBy'>) =>
    resultOf({
      ...ended,
      ...{ command: note.command, imagePlatform: note.imagePlatform, timeoutMs: note.timeoutMs },
      enginePlatform: deps.engine.facts()?.platform ?? '',
      ...{ startMs: 0, runMs: performance.now() - startedAt },
    })
}

/**
 * An engine that ends takes along what it had passed on and not yet written to its log: lines that
 * were not ended, as it logs whole ones. What comes after them may look the same, so that to find in
 * the log what was seen proves nothing of those.
 */
const hasAll = (seen: Seen, body: Uint8Array): boolean =>
  !seen.isMidLine && Buffer.compare(seen.body, body.subarray(0, seen.body.byteLength)) === 0

const NONE: Seen = { body: new Uint8Array(0), isMidLine: false }
const NOTHING_CAME: Cut = { ending: 'cut', stdout: NONE, stderr: NONE }
const GAP = 'the engine lost a part of what it wrote'

/** Reads a container that has ended back from the engine. */
const createReader = (
  deps: RecoveryDeps,
  note: Note,
  cut: Cut,
  account: ReturnType<typeof createAccount>,
) => {
  let endedAt: number | null = null
  return async (container: ContainerState | null, signal: AbortSignal): Promise<AttemptResult> => {
    const { stdout, stderr } = createStreams(deps.nonces, note)
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
    const hasGap = !hasAll(cut.stdout, stdout.body()) || !hasAll(cut.stderr, stderr.body())
    if (hasGap && isWhole(stdout, stderr)) return lostResult(GAP)
    return account({ stdout, stderr, container, endedBy: null })
  }
}

/**
 * A container that was noted is waited for, and its result read back. One that is cancelled is not
 * waited for; but if it had ended by itself, its result is in hand, and may be the first of its call.
 * What had come of its streams before they were cut must come again. Null: it was cancelled before it
 * had a result.
 */
export const adopt = async (
  deps: RecoveryDeps,
  note: Note,
  { stop, closing }: Ends,
  cut: Cut = NOTHING_CAME,
): Promise<AttemptResult | null> => {
  const account = createAccount(deps, note)
  const read = createReader(deps, note, cut, account)
  const nothing = { ...createStreams(deps.nonces, note), container: null }
  const insisting = <T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> => {
    const what = 'a call that was left cannot be read back yet'
    const ready = (): Promise<void> => untilUp(deps.engine, signal)
    return insist({ what, log: deps.log, signal, ready }, act)
  }
  const readEnded = async (): Promise<AttemptResult | null> => {
    if (note.container === '') return null
    const container = await deps.runner.state(note.container, closing)
    if (container === null || container.isRunning) return null
    const result = await read(container, closing)
    return isPlatformFailure(result.code) ? null : result
  }
  const overdue = new AbortController()
  const signal = AbortSignal.any([stop, overdue.signal])
  const timer = startLongTimer(overdueMs(note.timeoutMs), () => overdue.abort())
  try {
    return await insisting(signal, async () => {
      if (note.container === '') return account({ ...nothing, endedBy: null })
      await deps.runner.waitForEnd(note.container, signal)
      return read(await deps.runner.state(note.container, signal), signal)
    })
  } catch (error) {
    if (!signal.aborted) throw error
    if (stop.aborted && stop.reason === 'cancel') return insisting(closing, readEnded)
    if (stop.aborted) {
      return account({ ...nothing, endedBy: stop.reason === 'disk' ? 'disk' : 'leaving' })
    }
    return account({ ...nothing, endedBy: 'overdue' })
  } finally {
    timer.cancel()
  }
}
