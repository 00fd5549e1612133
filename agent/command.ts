/**
 * What a function container runs, and as whom: the function's own words over the image's, as
 * Docker merges them. An overridden entrypoint drops the image's Cmd. Pure. The image's Env is not
 * here: Docker sets it when the container is created.
 */

import type { ImageRecord } from '../protocol/image.ts'
import type { Assignment } from '../protocol/messages.ts'
import { signalNumber } from './signals.ts'

const SIGTERM = 15

export interface Command {
  /** Empty where neither the function nor its image names a command. */
  readonly argv: readonly string[]
  /** '' is the runtime's default: root. */
  readonly user: string
  /** '' is `/`. */
  readonly workingDir: string
  readonly stopSignal: number
}

type Words = readonly string[] | null
type FunctionWords = Pick<
  Assignment,
  'entrypoint' | 'cmd' | 'workingDir' | 'user' | 'stopSignal' | 'profile'
>

/** The user of a `strict` function whose image names none: nobody. */
const STRICT_USER = '65534:65534'

const isGiven = (words: Words): words is readonly string[] => words !== null && words.length > 0

const argvOf = (func: FunctionWords, image: ImageRecord['config']): readonly string[] => {
  if (isGiven(func.entrypoint)) {
    // As in Docker, [''] is no entrypoint at all, not even the image's.
    const isCleared = func.entrypoint.length === 1 && func.entrypoint[0] === ''
    return [...(isCleared ? [] : func.entrypoint), ...(func.cmd ?? [])]
  }
  const cmd = isGiven(func.cmd) ? func.cmd : (image.Cmd ?? [])
  return [...(image.Entrypoint ?? []), ...cmd]
}

export const commandOf = (func: FunctionWords, image: ImageRecord['config']): Command => ({
  argv: argvOf(func, image),
  user: func.user || image.User || (func.profile === 'strict' ? STRICT_USER : ''),
  workingDir: func.workingDir || image.WorkingDir,
  stopSignal: signalNumber(func.stopSignal || image.StopSignal || 'SIGTERM') ?? SIGTERM,
})
