/**
 * One run of `hyper`: reads the command line, loads the command's code, runs it, and ends the
 * process with its exit code once stdout and stderr have taken everything. Client commands end at
 * Ctrl-C with 130; daemons answer signals themselves.
 */

import { stat } from 'node:fs/promises'
import type { Client } from '../client/client.ts'
import { EXIT, HyperError, messageOf } from '../protocol/errors.ts'
import { VERSION } from '../protocol/version.ts'
import { type Parsed, readArguments } from './argv.ts'
import type { CommandSpec } from './catalog.ts'
import { type Environment, readEnvironment } from './environment.ts'
import { createFlags, type Flags } from './input.ts'
import { createOutput, type Output } from './output.ts'
import { reportProblem } from './problem.ts'

/** A reader that is gone has what it wanted: `hyper … | head` is no failure. */
const endAtClosedPipe = (): void => {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.done)
    process.stderr.write(`hyper: cannot write the output: ${error.message}\n`)
    process.exit(EXIT.failed)
  })
  // Nobody is left to be told.
  process.stderr.on('error', () => undefined)
}

/** What is written to a pipe may still be on its way. */
const flush = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    if (stream.destroyed || stream.writableEnded) resolve()
    else stream.write('', () => resolve())
  })

const outputFor = (isJson: boolean, isQuiet: boolean): Output =>
  createOutput({ stdout: process.stdout, stderr: process.stderr, isJson, isQuiet })

/** A home that can be none is told by its name, whichever of its files a command would have missed. */
const checkHome = async ({ home }: Environment): Promise<void> => {
  const isFolder = await stat(home).then(
    (found) => found.isDirectory(),
    (error: unknown) => !messageOf(error).startsWith('ENOTDIR'),
  )
  if (isFolder) return
  const what = `HYPER_HOME: ${home} is no folder and cannot be made one: name another place`
  throw new HyperError('BAD_PARAMETER', what)
}

const runCommand = async (
  command: CommandSpec,
  parsed: Parsed,
  flags: Flags,
  output: Output,
): Promise<number> => {
  const environment = readEnvironment(process.env)
  await checkHome(environment)
  if (command.isDaemon !== true) process.once('SIGINT', () => process.exit(EXIT.interrupted))
  const connect = async (): Promise<Client> => {
    const [{ chooseTarget }, { createClient }] = await Promise.all([
      import('./context.ts'),
      import('../client/client.ts'),
    ])
    return createClient(await chooseTarget(flags.text('endpoint'), environment))
  }
  const run = await command.load()
  const { args, rest } = parsed
  return (await run({ args, rest, flags, output, environment, connect })) ?? EXIT.done
}

const answer = async (argv: readonly string[]): Promise<number> => {
  // Until the flags are read, an error has to guess in which form it is wanted.
  let output = outputFor(argv.includes('--json'), false)
  try {
    const reading = readArguments(argv)
    if (reading.kind === 'version') {
      output.line(`hyper ${VERSION}`)
      return EXIT.done
    }
    if (reading.kind === 'help') {
      const { helpOf } = await import('./help.ts')
      output.line(helpOf(reading.words))
      return EXIT.done
    }
    const flags = createFlags(reading.parsed.options)
    output = outputFor(flags.has('json'), flags.has('quiet'))
    return await runCommand(reading.command, reading.parsed, flags, output)
  } catch (error) {
    return reportProblem(error, output)
  }
}

export const runProgram = async (argv: readonly string[]): Promise<never> => {
  endAtClosedPipe()
  const exitCode = await answer(argv)
  await Promise.all([flush(process.stdout), flush(process.stderr)])
  process.exit(exitCode)
}
