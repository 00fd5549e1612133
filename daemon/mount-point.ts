/**
 * Whether a folder is where something is mounted: it cannot be renamed over then, nor away. The
 * kernel's own table says so; the numbers of devices would not, for a folder that is mounted on
 * another of the same file system.
 */

import { readFile, realpath } from 'node:fs/promises'

const TABLE = '/proc/self/mountinfo'

/** Blanks and backslashes stand as three octal digits in it: `\040`. */
const unescapePath = (path: string): string =>
  path.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/** The mount points in a table of `/proc/PID/mountinfo`. */
export const mountPointsIn = (table: string): ReadonlySet<string> =>
  new Set(table.split('\n').map((line) => unescapePath(line.split(' ')[4] ?? '')))

/** False where there is nothing. */
export const isMountPoint = async (path: string): Promise<boolean> => {
  const real = await realpath(path).catch(() => null)
  return real !== null && mountPointsIn(await readFile(TABLE, 'utf8')).has(real)
}
