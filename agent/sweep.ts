/** Containers of this agent, by their label, that no attempt needs: those of the past. */

import type { OwnContainer, Runner } from './runner/runner.ts'

/** Removes every container of this agent that nobody needs. Returns how many. */
export const sweep = async (
  runner: Pick<Runner, 'list' | 'remove'>,
  isNeeded: (container: OwnContainer) => boolean,
  signal: AbortSignal,
): Promise<number> => {
  const own = await runner.list(signal)
  const left = own.filter((container) => !isNeeded(container))
  for (const container of left) await runner.remove(container.id, signal)
  return left.length
}
