/** `hyper backup` of the running coordinator, and `hyper restore` where there is none yet. */

import { join, resolve } from 'node:path'
import { HyperError } from '../../protocol/errors.ts'
import { proveBackup, type WrittenBackup, writeBackupFile } from '../backup-file.ts'
import { startDaemon } from '../daemon.ts'
import { logFormat } from '../daemon-config.ts'
import { firstArgument, type Input } from '../input.ts'
import { modulePath } from '../program.ts'

const KiB = 1024
const rowsAndBodies = (rows: number, bodies: number): string =>
  `${rows} ${rows === 1 ? 'row' : 'rows'} and ${bodies} ${bodies === 1 ? 'body' : 'bodies'}`
const inMiB = (bytes: number): string => `${(bytes / (KiB * KiB)).toFixed(1)} MB`

/** To a pipe, which nobody can rename: its reader is told by our exit code whether it is whole. */
const toStdout = async (chunks: AsyncIterable<Uint8Array>): Promise<WrittenBackup> => {
  if (process.stdout.isTTY) {
    throw new HyperError('BAD_PARAMETER', 'a backup is bytes: name a file, or pipe it on')
  }
  return proveBackup(
    chunks,
    (chunk) =>
      new Promise((resolve_, reject) => {
        process.stdout.write(chunk, (error) => (error ? reject(error) : resolve_()))
      }),
  )
}

export const backUp = async (input: Input): Promise<undefined> => {
  const { output } = input
  const name = firstArgument(input)
  const client = await input.connect()
  const chunks = await client.backup()
  const { head, ...counts } = await (name === '-'
    ? toStdout(chunks)
    : writeBackupFile(name, chunks))
  const { rows, bodies, bytes } = counts
  const said = `${rowsAndBodies(rows, bodies)} as of ${head.made}, ${inMiB(bytes)}`
  if (name === '-') output.note(`Backed up ${said}`)
  else if (output.isJson) output.json({ file: resolve(name), bytes, rows, bodies, made: head.made })
  else output.line(output.isQuiet ? name : `${name} has ${said}`)
  return undefined
}

/** It is opened by another process, and read from its start: STDIN is not for it. */
const backupPathOf = (name: string): string => {
  if (name !== '-') return resolve(name)
  throw new HyperError('BAD_PARAMETER', 'a restore reads a file, not STDIN: write it to one first')
}

export const restore = async (input: Input): Promise<undefined> => {
  const { output, environment } = input
  const home = join(environment.home, 'coordinator')
  const backupPath = backupPathOf(firstArgument(input))
  const daemon = startDaemon({
    program: modulePath('coordinator/restore-main'),
    config: { home, backupPath, logFormat: logFormat() },
    name: 'restore',
    onProgress: output.isQuiet ? () => undefined : output.note,
  })
  const { restored } = await daemon.ready.finally(() => daemon.ended)
  if (restored === undefined)
    throw new HyperError('INTERNAL', 'the restore did not say what it did')
  const { rows, bodies, made, epoch } = restored
  if (output.isJson) output.json({ home, made, epoch, rows, bodies })
  else if (output.isQuiet) output.line(home)
  else {
    output.line(`${home} is as it was at ${made}: ${rowsAndBodies(rows, bodies)}.`)
    output.note(
      'Start it with `hyper coordinator` or `hyper up`; stop the one it was made of first.',
    )
  }
  return undefined
}
