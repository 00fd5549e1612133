/**
 * Loaded into a daemon ahead of its own code (`--import`): writes down every batch that its LevelDB
 * took, in the order in which they became durable, before the daemon hears of it. A line each, into
 * the file that HYPER_TEST_WITNESS names; the time is the machine's monotonic clock, which a test
 * reads as well.
 */

import { appendFileSync } from 'node:fs'
import { hrtime } from 'node:process'
import { Level } from 'level'

export interface WitnessedBatch {
  readonly atMs: number
  readonly rows: readonly {
    readonly type: 'put' | 'del'
    readonly key: string
    /** Base64. */
    readonly value?: string
  }[]
}

export const monotonicMs = (): number => Number(hrtime.bigint()) / 1e6

type Row = { readonly type: 'put' | 'del'; readonly key: string; readonly value?: Uint8Array }

const watch = (path: string): void => {
  const { batch } = Level.prototype
  const tell = (rows: readonly Row[]): void => {
    const told = rows.map(({ type, key, value }) => ({
      ...{ type, key },
      ...(value === undefined ? {} : { value: Buffer.from(value).toString('base64') }),
    }))
    const line: WitnessedBatch = { atMs: monotonicMs(), rows: told }
    appendFileSync(path, `${JSON.stringify(line)}\n`)
  }
  const witnessed = async function (this: Level, ...args: [Row[], object]): Promise<void> {
    await Reflect.apply(batch, this, args)
    tell(args[0])
  }
  Object.defineProperty(Level.prototype, 'batch', { value: witnessed })
}

const { HYPER_TEST_WITNESS: path } = process.env
if (path !== undefined) watch(path)
