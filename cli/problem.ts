/**
 * Every failure becomes one line on stderr, what happened and what to do next, and an exit code.
 * With --json the line is `{"message", "code"}`.
 */

import { ERRORS, EXIT, type HyperError, toHyperError } from '../protocol/errors.ts'
import type { Output } from './output.ts'

/** The codes that mean the same in every command; what else a row says is for `func get`. */
const GENERAL: ReadonlySet<number> = new Set([
  EXIT.usage,
  EXIT.notFound,
  EXIT.notAllowed,
  EXIT.unreachable,
  EXIT.ticketExpired,
  EXIT.wrongCoordinator,
  EXIT.keyInUse,
  EXIT.versionMismatch,
])

const exitCodeOf = (error: HyperError): number => {
  const { exit } = ERRORS[error.code]
  return GENERAL.has(exit) ? exit : EXIT.failed
}

/** Says it, and tells the exit code. */
export const reportProblem = (thrown: unknown, output: Output): number => {
  const error = toHyperError(thrown)
  if (output.isJson) output.note(JSON.stringify({ message: error.line, code: error.code }))
  else output.failure(error.line.replace(/\s*\n\s*/g, ': '))
  return exitCodeOf(error)
}

/**
 * For several things at once: does each, reports those that fail, and goes on. Resolves to the
 * exit code of the first failure.
 */
export const forEach = async (
  items: readonly string[],
  output: Output,
  act: (item: string) => Promise<void>,
): Promise<number> => {
  let exitCode: number = EXIT.done
  for (const item of items) {
    try {
      await act(item)
    } catch (error) {
      const code = reportProblem(error, output)
      if (exitCode === EXIT.done) exitCode = code
    }
  }
  return exitCode
}
