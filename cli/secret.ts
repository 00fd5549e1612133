/** Reads a secret: from STDIN, or typed on the terminal without being shown. */

import { HyperError } from '../protocol/errors.ts'
import { limits } from '../protocol/limits.ts'

const tooLong = (): HyperError => new HyperError('BAD_PARAMETER', 'the token is too long')

const readPiped = async (): Promise<string> => {
  let text = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += chunk
    if (text.length > limits.tokenCharsMax) throw tooLong()
  }
  return text
}

/** Key by key, so that nothing is echoed; Ctrl-C, Ctrl-D and backspace mean what they do. */
const readTyped = async (prompt: string): Promise<string> => {
  const { stdin } = process
  // First no echo, then the prompt: what is typed at once is not shown either.
  stdin.setRawMode(true)
  process.stderr.write(prompt)
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
      if (text.length > limits.tokenCharsMax) throw tooLong()
    }
  } finally {
    stdin.setRawMode(false)
    process.stderr.write('\n')
  }
  return text
}

export const readSecret = async (prompt: string): Promise<string> => {
  const text = (process.stdin.isTTY ? await readTyped(prompt) : await readPiped()).trim()
  if (text === '') throw new HyperError('BAD_PARAMETER', 'no token was given')
  return text
}
