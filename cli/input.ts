/** What a command gets: its arguments and flags, where to print, and a way to the coordinator. */

import type { Client } from '../client/client.ts'
import { HyperError } from '../protocol/errors.ts'
import type { Parsed } from './argv.ts'
import type { Environment } from './environment.ts'
import type { Output } from './output.ts'

export interface Flags {
  /** Whether a flag without a value is set. */
  readonly has: (name: string) => boolean
  /** The last value. */
  readonly text: (name: string) => string | undefined
  readonly texts: (name: string) => readonly string[]
}

export interface Input {
  readonly args: readonly string[]
  readonly rest: readonly string[]
  readonly flags: Flags
  readonly output: Output
  readonly environment: Environment
  readonly connect: () => Promise<Client>
}

export const createFlags = (options: Parsed['options']): Flags => {
  const texts = (name: string): readonly string[] =>
    (options.get(name) ?? []).filter((value) => typeof value === 'string')
  return {
    has: (name) => options.get(name)?.at(-1) === true,
    texts,
    text: (name) => texts(name).at(-1),
  }
}

/** The first argument; the parser has made sure of it. */
export const firstArgument = (input: Input): string => {
  const [first] = input.args
  if (first === undefined) throw new HyperError('BAD_PARAMETER', 'an argument is missing')
  return first
}
