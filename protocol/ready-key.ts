/**
 * The name of a kind of container: what fixes one when it is created, and nothing of what comes with
 * its call. Agents keep containers ready by it and advertise how many, and the coordinator finds by
 * it who has one ready for a call; so both make it from the words of the function alone. Environment
 * and command are not among them: they come with the frame. Pure.
 */

import { createHash } from 'node:crypto'
import { imageKey } from './image.ts'
import type { Preparation } from './messages.ts'

const KEY_CHARS = 22

export const readyKey = (preparation: Preparation): string => {
  const { user, workingDir, network, runtime, profile, memoryBytes, cpus } = preparation
  const words = [imageKey(preparation.image), user, workingDir, network, runtime, profile]
  const text = JSON.stringify([...words, memoryBytes, cpus])
  return createHash('sha256').update(text).digest('base64url').slice(0, KEY_CHARS)
}
