/**
 * The environment of a function from `-e` and `--env-file`, as docker reads them: `NAME=value`, or
 * `NAME` alone for the value it has here (nothing where it has none). `-e` wins over the file.
 */

import { readFile } from 'node:fs/promises'
import { HyperError, messageOf } from '../protocol/errors.ts'
import type { Environment } from './environment.ts'
import type { Flags } from './input.ts'

const resolveEntry = (entry: string, environment: Environment): readonly string[] => {
  if (entry.includes('=')) return [entry]
  const value = environment.variable(entry)
  return value === undefined ? [] : [`${entry}=${value}`]
}

/** Lines of a file; empty ones and those that begin with # are no entries. */
const parseEnvironmentFile = (text: string): readonly string[] =>
  text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .map((line) => line.trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'))

const readEntries = async (path: string): Promise<readonly string[]> => {
  try {
    return parseEnvironmentFile(await readFile(path, 'utf8'))
  } catch (error) {
    throw new HyperError('BAD_PARAMETER', `cannot read --env-file ${path}: ${messageOf(error)}`)
  }
}

/** Undefined where neither flag is given. */
export const readFunctionEnvironment = async (
  flags: Flags,
  environment: Environment,
): Promise<readonly string[] | undefined> => {
  const files = flags.texts('envFile')
  const given = flags.texts('env')
  if (files.length === 0 && given.length === 0) return undefined
  const fromFiles = await Promise.all(files.map(readEntries))
  const entries = [...fromFiles.flat(), ...given]
  const named = entries.flatMap((entry) => resolveEntry(entry, environment))
  return [...new Map(named.map((entry) => [entry.slice(0, entry.indexOf('=')), entry])).values()]
}
