/**
 * A process that lets one byte after the other rot in a copy of a state folder, and tells what starts
 * make of it. It reads a probe from each line, and writes a verdict for each. Where LevelDB ends the
 * process, the verdict is missing.
 */

import { copyFile, link, mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Level } from 'level'
import {
  del,
  openStore,
  put,
  type Store,
  SUBLEVELS,
  type Sublevel,
} from '../../coordinator/store/store.ts'
import { messageOf, toHyperError } from '../../protocol/errors.ts'
import { ledgerOf, namesOf } from './rot-store.ts'
import { readContents } from './store-workload.ts'

export interface Probe {
  readonly file: string
  readonly at: number
  readonly mask: number
}

export interface Verdict {
  readonly probe: Probe
  /** Of a start on the rotten folder: `right`, `wrong: …`, or the code of a refusal. */
  readonly start: string
  readonly said: string
  /** Of one that accepts the loss: `right`, `former: …` for rows that came back, or what failed. */
  readonly accepted: string
  readonly losses: readonly string[]
  readonly rowsLost: number
}

type Names = ReadonlyMap<string, string>

const [, , original = '', scratch = ''] = process.argv

const copyFolder = async (): Promise<string> => {
  const folder = join(scratch, 'store')
  await rm(scratch, { recursive: true, force: true })
  await mkdir(ledgerOf(folder), { recursive: true, mode: 0o700 })
  await mkdir(join(folder, 'blobs'))
  for (const name of await readdir(ledgerOf(original))) {
    if (name === 'LOCK') continue
    await copyFile(join(ledgerOf(original), name), join(ledgerOf(folder), name))
  }
  for (const name of await readdir(join(original, 'blobs'))) {
    await link(join(original, 'blobs', name), join(folder, 'blobs', name))
  }
  return folder
}

const rot = async (path: string, { at, mask }: Probe): Promise<void> => {
  const file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  byte[0] = (byte[0] ?? 0) ^ mask
  await file.write(byte, 0, 1, at)
  await file.close()
}

const isSublevel = (table: string): table is Sublevel => SUBLEVELS.some((one) => one === table)

/** All that is stored, by scans, and each row once more by its key. */
const readAll = async (store: Store): Promise<Names> => {
  const contents = await readContents(store)
  for (const [name, value] of contents.rows) {
    const at = name.indexOf('/')
    const table = name.slice(0, at)
    if (!isSublevel(table)) continue
    const found = JSON.stringify(await store.get(table, name.slice(at + 1)))
    if (found !== JSON.stringify(value)) throw new Error(`${name} is read as ${found}`)
  }
  return namesOf(contents)
}

/** A start that goes on as a coordinator's would: it writes, and LevelDB compacts. */
const startOn = async (folder: string, tellLoss?: (what: string) => void): Promise<Names> => {
  const store = await openStore(folder, { tellLoss })
  let names: Names
  try {
    names = await readAll(store)
    await store.commit([put('lease', 'probe', 1)])
    await store.commit([del('lease', 'probe')])
  } finally {
    await store.close()
  }
  const database = new Level(ledgerOf(folder))
  await database.open()
  // Of LevelDB itself; the typings of `level` leave it out.
  if ('compactRange' in database && typeof database.compactRange === 'function') {
    await database.compactRange('', '~')
  }
  await database.close()
  return names
}

const expected = await startOn(await copyFolder())

const differencesIn = (found: Names): readonly string[] =>
  [...found].filter(([name, value]) => expected.get(name) !== value).map(([name]) => name)

const countLost = (found: Names): number =>
  [...expected.keys()].filter((name) => !found.has(name)).length

const tryStart = async (folder: string): Promise<Pick<Verdict, 'start' | 'said'>> => {
  try {
    const found = await startOn(folder)
    const wrong = differencesIn(found)
    const isRight = wrong.length === 0 && countLost(found) === 0
    return { start: isRight ? 'right' : `wrong: ${wrong.join(' ')}`, said: '' }
  } catch (error) {
    return { start: toHyperError(error).code, said: messageOf(error) }
  }
}

const accept = async (folder: string): Promise<Omit<Verdict, 'probe' | 'start' | 'said'>> => {
  const losses: string[] = []
  try {
    const found = await startOn(folder, (what) => losses.push(what))
    const rowsLost = countLost(found)
    const again = await startOn(folder)
    const isSame =
      again.size === found.size && [...found].every(([name, value]) => again.get(name) === value)
    if (!isSame) return { accepted: 'other rows at the next start', losses, rowsLost }
    const former = differencesIn(found)
    const accepted = former.length > 0 ? `former: ${former.join(' ')}` : 'right'
    return { accepted: losses.length > 0 ? accepted : 'nothing was told', losses, rowsLost }
  } catch (error) {
    const accepted = `${toHyperError(error).code}: ${messageOf(error)}`
    return { accepted, losses, rowsLost: 0 }
  }
}

const probeOne = async (probe: Probe): Promise<Verdict> => {
  const folder = await copyFolder()
  await rot(join(ledgerOf(folder), probe.file), probe)
  const started = await tryStart(folder)
  const accepted =
    started.start === 'right'
      ? { accepted: 'right', losses: [], rowsLost: 0 }
      : await accept(folder)
  return { probe, ...started, ...accepted }
}

for await (const line of createInterface({ input: process.stdin })) {
  const verdict = await probeOne(JSON.parse(line) as Probe)
  process.stdout.write(`${JSON.stringify(verdict)}\n`)
}
