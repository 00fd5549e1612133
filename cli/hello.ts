/**
 * The function `hello`, which needs no registry: made when the account has none of this name, so
 * that the first call can be copied from the screen.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from '../client/client.ts'
import { HyperError } from '../protocol/errors.ts'
import { HELLO_IMAGE } from '../protocol/image.ts'
import { limits } from '../protocol/limits.ts'

export const HELLO = 'hello'

const isCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof HyperError && codes.includes(error.code)

const exists = (client: Client): Promise<boolean> =>
  client.funcs.get(HELLO).then(
    () => true,
    (error: unknown) => {
      if (isCode(error, 'FUNC_NOT_FOUND', 'NOT_FOUND')) return false
      throw error
    },
  )

const tryCreate = async (client: Client): Promise<boolean> => {
  const { agents } = (await client.overview()).Hyper
  if (agents !== undefined && agents.connected === 0) return false
  try {
    await client.funcs.create({ Name: HELLO, ContainerSize: 's1', Config: { Image: HELLO_IMAGE } })
    return true
  } catch (error) {
    if (isCode(error, 'NAME_TAKEN')) return true
    // The agent is connected, but its engine or its images are not ready yet.
    if (isCode(error, 'NO_AGENT', 'IMAGE_NOT_FOUND', 'STOPPING')) return false
    throw error
  }
}

/** Waits for an agent as long as it may take; false when none came. */
export const ensureHello = async (client: Client, signal: AbortSignal): Promise<boolean> => {
  if (await exists(client)) return true
  const startedAt = performance.now()
  while (performance.now() - startedAt < limits.firstAgentMs) {
    if (await tryCreate(client)) return true
    await pause(limits.restartPauseMsMin, undefined, { signal })
  }
  return false
}
