/**
 * Shows the progress of a pull as docker does: on a terminal one line a layer, rewritten in place;
 * elsewhere one line each time a status changes, without the bars.
 */

import type { PullProgress } from '../client/client.ts'
import { printableLine } from './output.ts'
import { formatBytes } from './quantity.ts'

const BAR_CHARS = 30
const ESC = '\u001b['

const detailOf = ({ progressDetail }: PullProgress): string => {
  const { current, total } = progressDetail ?? {}
  if (current === undefined || total === undefined || total <= 0) return ''
  const done = Math.min(BAR_CHARS, Math.floor((current / total) * BAR_CHARS))
  const bar = `${'='.repeat(done)}>`.slice(0, BAR_CHARS).padEnd(BAR_CHARS)
  return ` [${bar}] ${formatBytes(current)}/${formatBytes(total)}`
}

const textOf = ({ id, status }: PullProgress): string =>
  id === undefined ? (status ?? '') : `${id}: ${status ?? ''}`

export type ShowProgress = (progress: PullProgress) => void

export const createPlainProgress = (write: (text: string) => void): ShowProgress => {
  const statuses = new Map<string, string>()
  return (progress) => {
    const { id = '', status = '' } = progress
    if (status === '' || (id !== '' && statuses.get(id) === status)) return
    statuses.set(id, status)
    write(`${textOf(progress)}\n`)
  }
}

export const createTerminalProgress = (
  write: (text: string) => void,
  columns: () => number,
): ShowProgress => {
  const lineOf = new Map<string, number>()
  let lines = 0
  return (progress) => {
    const text = printableLine(`${textOf(progress)}${detailOf(progress)}`).slice(0, columns() - 1)
    const known = progress.id === undefined ? undefined : lineOf.get(progress.id)
    if (known === undefined) {
      if (progress.id !== undefined) lineOf.set(progress.id, lines)
      lines += 1
      write(`${text}\n`)
      return
    }
    const up = lines - known
    write(`${ESC}${up}A\r${ESC}2K${text}${ESC}${up}B\r`)
  }
}
