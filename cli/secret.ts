/**
 * Reads a secret: from STDIN, typed on the terminal without being shown, or from a file. Given as
 * an argument, other users of the machine can read it from the list of processes.
 */

import { createReadStream } from 'node:fs'
import { access } from 'node:fs/promises'
import { HyperError, isMissing, messageOf } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

interface Wanted {
  /** `token`, in errors */
  readonly name: string
  readonly charsMax: number
  /** What a terminal is asked. */
  readonly prompt: string
}

const tooLong = ({ name }: Wanted): HyperError =>
  new HyperError('BAD_PARAMETER', `the ${name} is too long`)

const readText = async (source: AsyncIterable<unknown>, wanted: Wanted): Promise<string> => {
  let text = ''
  for await (const chunk of source) {
    text += chunk
    if (text.length > wanted.charsMax) throw tooLong(wanted)
  }
  return text
}

/** Key by key, so that nothing is echoed; Ctrl-C, Ctrl-D and backspace mean what they do. */
const readTyped = async (wanted: Wanted): Promise<string> => {
  const { stdin } = process
  // First no echo, then the prompt: what is typed at once is not shown either.
  stdin.setRawMode(true)
  process.stderr.write(wanted.prompt)
  stdin.setEncoding('utf8')
  let text = ''
  try {
    for await (const keys of stdin) {
      for (const key of String(keys)) {
        if (key === '\r' || key === '\n' || key === '\u0004') return text
        if (key === '\u0003') process.kill(process.pid, 'SIGINT')
        else if (key === '\u007f' || key === '\b') text = text.slice(0, -1)
        else text += key
      }
      if (text.length > wanted.charsMax) throw tooLong(wanted)
    }
  } finally {
    stdin.setRawMode(false)
    process.stderr.write('\n')
  }
  return text
}

const readStdin = (wanted: Wanted): Promise<string> =>
  process.stdin.isTTY ? readTyped(wanted) : readText(process.stdin.setEncoding('utf8'), wanted)

const readSecretFile = async (path: string, wanted: Wanted): Promise<string> => {
  try {
    return await readText(createReadStream(path, 'utf8'), wanted)
  } catch (error) {
    if (error instanceof HyperError) throw error
    throw new HyperError(
      'BAD_PARAMETER',
      `the ${wanted.name} cannot be read from ${path}: ${messageOf(error)}`,
    )
  }
}

const trimmed = (text: string, { name }: Wanted): string => {
  const secret = text.trim()
  if (secret === '') throw new HyperError('BAD_PARAMETER', `no ${name} was given`)
  return secret
}

export const readToken = async (prompt: string): Promise<string> => {
  const wanted = { name: 'token', charsMax: limits.tokenCharsMax, prompt }
  return trimmed(await readStdin(wanted), wanted)
}

/** `-` reads STDIN, `@FILE` a file; anything else is the ticket itself. */
export const readTicket = async (given: string): Promise<string> => {
  const wanted = { name: 'ticket', charsMax: limits.ticketTextCharsMax, prompt: 'Ticket: ' }
  if (given === '-') return trimmed(await readStdin(wanted), wanted)
  if (given.startsWith('@')) return trimmed(await readSecretFile(given.slice(1), wanted), wanted)
  return trimmed(given, wanted)
}

/**
 * For who may have joined before: null, said by `note`, where the FILE of `@FILE` is not there. A ticket
 * is needed once, and a unit that names its file is started many times.
 */
export const readTicketIfThere = async (
  given: string,
  note: (line: string) => void,
): Promise<string | null> => {
  if (!given.startsWith('@')) return readTicket(given)
  const path = given.slice(1)
  const isThere = await access(path).then(
    () => true,
    (error: unknown) => !isMissing(error),
  )
  if (isThere) return readTicket(given)
  note(`There is no ticket at ${path}: only an agent that has joined before needs none.`)
  return null
}
