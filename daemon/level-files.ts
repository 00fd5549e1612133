/**
 * The files of a LevelDB, looked at before LevelDB opens them. It would not tell of most of what can
 * rot in them: it serves it, drops it, deletes other files for it, or ends the process.
 *
 *   CURRENT, MANIFEST   the list of tables can be read to its end (level-manifest.ts)
 *   tables              every block of every table of the list is proven (level-table.ts)
 *   logs                are left to LevelDB, which drops what fails its checksum. A crash may leave
 *                       such a record: whether it was acknowledged, whoever owns the rows has to tell.
 *
 * `repairFiles` is for an operator who accepts the loss. It keeps a copy of the former files. Damaged
 * tables lose what is damaged; a damaged list is made anew, of all the tables that are found.
 */

import { cp, readdir, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Level } from 'level'
import { HyperError } from '../protocol/errors.ts'
import { syncFolder } from '../protocol/private-file.ts'
import { compactRange } from './level-compaction.ts'
import { readTableSizes, type TableSizes } from './level-manifest.ts'
import { checkTable, emptyDamage, TABLE_BYTES_MIN, type TableDamage } from './level-table.ts'

const TABLE = /^(\d+)\.ldb$/

const tablePath = (path: string, number: number): string =>
  join(path, `${String(number).padStart(6, '0')}.ldb`)

const findDamage = async (path: string, sizes: TableSizes): Promise<TableDamage[]> => {
  const damage: TableDamage[] = []
  for (const [number, size] of sizes) {
    const found = await checkTable(tablePath(path, number), size)
    if (found !== undefined) damage.push(found)
  }
  return damage
}

/** LevelDB would make a new database in such a folder, and delete the files of the old one. */
const isHeadless = async (path: string): Promise<boolean> => {
  const names = await readdir(path).catch(() => [])
  return names.some((name) => name.endsWith('.ldb') || name.endsWith('.log'))
}

/** Throws for files that must not be opened, saying why. Where there are none, nothing is wrong. */
export const checkFiles = async (path: string): Promise<void> => {
  const sizes = await readTableSizes(path)
  if (sizes === undefined) {
    if (await isHeadless(path)) throw new HyperError('STATE_DAMAGED', 'CURRENT is missing')
    return
  }
  const damage = await findDamage(path, sizes)
  if (damage.length === 0) return
  const named = damage.map((table) => `${basename(table.path)}: ${table.what}`)
  throw new HyperError('STATE_DAMAGED', named.join('; '))
}

/** All tables in the folder, as they are. */
const sizesFound = async (path: string): Promise<TableSizes> => {
  const sizes = new Map<number, number>()
  for (const name of await readdir(path)) {
    const [, number] = TABLE.exec(name) ?? []
    if (number === undefined) continue
    const { size } = await stat(join(path, name))
    if (size >= TABLE_BYTES_MIN) sizes.set(Number(number), size)
  }
  return sizes
}

/**
 * LevelDB's own repair, over tables that it can read. It leaves them all side by side, where a read by
 * key takes the one with the highest number for the newest: so they are merged at once.
 */
const rebuild = async (path: string): Promise<void> => {
  for (const table of await findDamage(path, await sizesFound(path))) await emptyDamage(table)
  if ('repair' in Level && typeof Level.repair === 'function') await Level.repair(path)
  const database = new Level<string, Uint8Array>(path)
  await database.open()
  try {
    await compactRange(database, '', '\u{10ffff}')
  } finally {
    await database.close()
  }
}

/** Resolves with where the former files are. */
export const repairFiles = async (path: string): Promise<string> => {
  const copy = `${path}.damaged-${Date.now()}`
  try {
    await cp(path, copy, { recursive: true, filter: (source) => basename(source) !== 'LOCK' })
  } catch (error) {
    await rm(copy, { recursive: true, force: true })
    throw error
  }
  const sizes = await readTableSizes(path).catch(() => undefined)
  const damage = sizes === undefined ? [] : await findDamage(path, sizes)
  for (const table of damage) await emptyDamage(table)
  if (damage.length === 0) await rebuild(path)
  await syncFolder(path)
  return copy
}
