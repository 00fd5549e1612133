/**
 * What the commands print: results on stdout, everything else on stderr. On a terminal, control
 * characters of names, logs and messages are replaced, so that a function's words cannot move the
 * cursor or rename the window; a pipe gets them as they are. Payloads and outputs do not pass here.
 */

import { stripVTControlCharacters, styleText } from 'node:util'

interface Sink {
  readonly isTTY?: boolean
  readonly write: (text: string) => unknown
}

export interface Output {
  readonly isJson: boolean
  readonly isQuiet: boolean
  /** Whether stdout is a terminal. */
  readonly isTerminal: boolean
  /** One line of the result. */
  readonly line: (text: string) => void
  /** One line about it, on stderr. */
  readonly note: (text: string) => void
  /** What went wrong, marked as such, on stderr. */
  readonly failure: (text: string) => void
  /** A value as JSON: indented for reading, or one line where more follow. */
  readonly json: (value: unknown, form?: 'line') => void
  /** Aligned as docker does. */
  readonly table: (columns: readonly string[], rows: readonly (readonly string[])[]) => void
  /** A listing in the form that the global flags ask for; `-q` prints each row's first cell. */
  readonly listing: <T>(
    items: readonly T[],
    columns: readonly string[],
    cells: (item: T) => readonly string[],
    idOf?: (item: T) => string,
  ) => void
}

const GAP = 3
// C0, DEL, C1, and the marks that turn the direction of text.
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what this is about
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same, but tab and line feed
const CONTROLS_BUT_LINES = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

export const printableLine = (text: string): string => text.replace(CONTROLS, '\ufffd')
const printable = (text: string): string => text.replace(CONTROLS_BUT_LINES, '\ufffd')

const align = (rows: readonly (readonly string[])[]): readonly string[] => {
  const widths = (rows[0] ?? []).map((_cell, column) =>
    Math.max(...rows.map((row) => stripVTControlCharacters(row[column] ?? '').length)),
  )
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd((widths[column] ?? 0) + GAP))
      .join('')
      .trimEnd(),
  )
}

export const createOutput = (options: {
  readonly stdout: Sink
  readonly stderr: Sink
  readonly isJson: boolean
  readonly isQuiet: boolean
}): Output => {
  const { stdout, stderr, isJson, isQuiet } = options
  const isTerminal = stdout.isTTY === true
  const line = (text: string): void => {
    stdout.write(`${isTerminal ? printable(text) : text}\n`)
  }
  const json = (value: unknown, form?: 'line'): void => {
    // JSON escapes control characters by itself, but C1 and the marks of direction.
    line(form === 'line' ? JSON.stringify(value) : JSON.stringify(value, null, 2))
  }
  const table: Output['table'] = (columns, rows) => {
    const cells = rows.map((row) =>
      row.map((cell) => (isTerminal ? printableLine(cell) : cell.replace(/[\t\r\n]+/g, ' '))),
    )
    for (const text of align([columns, ...cells])) stdout.write(`${text}\n`)
  }
  return {
    isJson,
    isQuiet,
    isTerminal,
    line,
    json,
    table,
    note: (text) => {
      stderr.write(`${stderr.isTTY === true ? printable(text) : text}\n`)
    },
    failure: (text) => {
      // The mark is red on a terminal that shows colours; NO_COLOR and pipes get plain text.
      const mark = styleText('red', 'hyper:', { stream: process.stderr, validateStream: true })
      stderr.write(`${mark} ${stderr.isTTY === true ? printable(text) : text}\n`)
    },
    listing: (items, columns, cells, idOf) => {
      if (isJson) json(items)
      else if (isQuiet) for (const item of items) line(idOf?.(item) ?? cells(item)[0] ?? '')
      else table(columns, items.map(cells))
    },
  }
}
