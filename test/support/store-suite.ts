/**
 * What every store must keep, whatever is under it: random commands against a model of a few lines,
 * which is two maps. Run it with an engine of your own: `checkStore(makeBench, runs)`.
 *
 * Commands: commits of rows and bodies (several on one key, small and large bodies, deletions of
 * nothing), reads of every kind, close and reopen, commits that the disk refuses with either outcome,
 * and crashes before, during and after a commit. After each reopening all of the store is proven and
 * compared. A failing run prints its seed and the shortest commands that fail.
 */

import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  type BodyKind,
  del,
  delBody,
  type Operation,
  put,
  putBody,
  type Store,
  type Sublevel,
} from '../../coordinator/store/store.ts'

/** One disk, and the ways in which it can fail. */
export interface StoreBench {
  /** Opens what is there. Bodies above `inlineBytesMax` are large. */
  open(): Promise<Store>
  /** The next commit meets a refusal, and has been written all the same or not. It resolves anyway. */
  readonly refuse?: (isWritten: boolean) => void
  /** The process dies at some point of `commit`, which `point` chooses. What is open is gone. */
  readonly crash?: (commit: () => Promise<void>, point: number) => Promise<void>
  /** Names of what lies beside the rows, for the proof that nothing is left over. */
  readonly files?: () => Promise<readonly string[]>
  remove(): Promise<void>
}

/** Bodies up to this are small. */
export const INLINE_BYTES_MAX = 64

interface Model {
  rows: Map<string, unknown>
  bodies: Map<string, Uint8Array>
}
/** A change of one row or body: a value, bytes of a size, or nothing. */
type Change = { readonly at: string } & (
  | { readonly row: string | number | null }
  | { readonly size: number | null }
)

const SUBLEVELS: readonly Sublevel[] = ['call', 'log', 'lease']
const KINDS: readonly BodyKind[] = ['input', 'stdout']
const KEYS = ['1', '2', 'f/1', 'f/2', 'f/3', 'g/1']

const [rowAt, bodyAt] = [SUBLEVELS, KINDS].map((tables) =>
  fc.constantFrom(...tables.flatMap((table) => KEYS.map((key) => `${table} ${key}`))),
) as [fc.Arbitrary<string>, fc.Arbitrary<string>]

const sizes = [0, 1, INLINE_BYTES_MAX - 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 300]
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ at: rowAt, row: fc.oneof(fc.string(), fc.nat(), fc.constant(null)) }),
  fc.record({ at: bodyAt, size: fc.constantFrom(...sizes, null) }),
)
const changes = fc.array(change, { maxLength: 8 })

/** Tells bodies apart that have one size: no two commits write the same bytes. */
let written = 0
const bytesOf = (size: number): Uint8Array => {
  written += 1
  return new Uint8Array(size).fill(written % 251)
}

const split = (at: string): [string, string] => at.split(' ') as [string, string]

/** The changes as operations, and the model as they leave it. */
const applied = (
  model: Model,
  made: readonly Change[],
): { next: Model; operations: Operation[] } => {
  const next = { rows: new Map(model.rows), bodies: new Map(model.bodies) }
  const operations = made.map((one): Operation => {
    const [table, key] = split(one.at)
    if ('row' in one) {
      const sublevel = table as Sublevel
      if (one.row === null) next.rows.delete(one.at)
      else next.rows.set(one.at, one.row)
      return one.row === null ? del(sublevel, key) : put(sublevel, key, one.row)
    }
    const kind = table as BodyKind
    const bytes = one.size === null ? null : bytesOf(one.size)
    if (bytes === null) next.bodies.delete(one.at)
    else next.bodies.set(one.at, bytes)
    return bytes === null ? delBody(kind, key) : putBody(kind, key, bytes)
  })
  return { next, operations }
}

interface Real {
  readonly bench: StoreBench
  store: Store
}

const rowsOf = (model: Model, sublevel: Sublevel): [string, unknown][] =>
  [...model.rows]
    .filter(([at]) => at.startsWith(`${sublevel} `))
    .map(([at, value]): [string, unknown] => [split(at)[1], value])
    .sort(([a], [b]) => (a < b ? -1 : 1))

const compareAll = async (model: Model, { store, bench }: Real): Promise<void> => {
  for (const sublevel of SUBLEVELS) {
    const found: (readonly [string, unknown])[] = []
    await store.scan(sublevel, (key, value) => void found.push([key, value]))
    assert.deepEqual(found, rowsOf(model, sublevel), sublevel)
  }
  await store.verify()
  for (const kind of KINDS) {
    for (const key of KEYS) {
      const expected = model.bodies.get(`${kind} ${key}`)
      assert.deepEqual(await store.body(kind, key), expected, `${kind}/${key}`)
    }
  }
  const large = [...model.bodies.values()].filter(({ length }) => length > INLINE_BYTES_MAX)
  if (bench.files !== undefined) assert.equal((await bench.files()).length, large.length, 'files')
}

const reopen = async (real: Real): Promise<void> => {
  real.store = await real.bench.open()
}

/** A command whose text is enough to understand a failure. */
const command = (
  text: string,
  run: (model: Model, real: Real) => Promise<void>,
): fc.AsyncCommand<Model, Real> => ({ check: () => true, run, toString: () => text })

const commit = (made: readonly Change[], refusal: 'none' | 'lost' | 'kept') =>
  command(`commit(${JSON.stringify(made)}, ${refusal})`, async (model, { bench, store }) => {
    const { next, operations } = applied(model, made)
    if (refusal !== 'none') bench.refuse?.(refusal === 'kept')
    await store.commit(operations)
    assert.equal(store.isWritable(), true)
    Object.assign(model, next)
  })

const CRASHED = 'lease crashed'

const crash = (made: readonly Change[], point: number) =>
  command(`crash(${JSON.stringify(made)}, ${point})`, async (model, real) => {
    if (real.bench.crash === undefined) return
    written += 1
    const marker = { at: CRASHED, row: written }
    const { next, operations } = applied(model, [...made, marker])
    await real.bench.crash(() => real.store.commit(operations), point)
    await reopen(real)
    // All of it or nothing: the marker tells which.
    if ((await real.store.get('lease', 'crashed')) === marker.row) Object.assign(model, next)
    await compareAll(model, real)
  })

const read = (at: string, bodyOf: string) =>
  command(`read(${at}, ${bodyOf})`, async (model, { store }) => {
    const [sublevel, key] = split(at)
    assert.deepEqual(await store.get(sublevel as Sublevel, key), model.rows.get(at))
    const [kind, name] = split(bodyOf)
    assert.deepEqual(await store.body(kind as BodyKind, name), model.bodies.get(bodyOf))
  })

type Bounds = NonNullable<Parameters<Store['range']>[1]>

const range = (sublevel: Sublevel, bounds: Bounds) =>
  command(`range(${sublevel}, ${JSON.stringify(bounds)})`, async (model, { store }) => {
    const { gt, lt, reverse, limit } = bounds
    const expected = rowsOf(model, sublevel).filter(
      ([key]) => (gt === undefined || key > gt) && (lt === undefined || key < lt),
    )
    if (reverse === true) expected.reverse()
    const found: (readonly [string, unknown])[] = []
    for await (const row of store.range(sublevel, bounds)) found.push(row)
    assert.deepEqual(found, expected.slice(0, limit))
  })

const closeAndOpen = () =>
  command('reopen', async (model, real) => {
    await real.store.close()
    await reopen(real)
    await compareAll(model, real)
  })

const bounds: fc.Arbitrary<Bounds> = fc.record(
  {
    gt: fc.constantFrom(...KEYS),
    lt: fc.constantFrom(...KEYS),
    reverse: fc.boolean(),
    limit: fc.nat(4),
  },
  { requiredKeys: [] },
)

const commands = fc.commands(
  [
    changes.map((made) => commit(made, 'none')),
    fc.tuple(changes, fc.constantFrom('lost', 'kept')).map(([made, how]) => commit(made, how)),
    fc.tuple(changes, fc.nat(20)).map(([made, point]) => crash(made, point)),
    fc.tuple(rowAt, bodyAt).map(([at, bodyOf]) => read(at, bodyOf)),
    fc.tuple(fc.constantFrom(...SUBLEVELS), bounds).map(([sublevel, of]) => range(sublevel, of)),
    fc.constant(null).map(closeAndOpen),
  ] as fc.Arbitrary<fc.AsyncCommand<Model, Real>>[],
  { maxCommands: 30 },
)

/** Throws with seed, path and the shortest commands where the store and the model differ. */
export const checkStore = async (
  makeBench: () => Promise<StoreBench>,
  runs: number,
): Promise<void> => {
  const property = fc.asyncProperty(commands, async (made) => {
    const bench = await makeBench()
    try {
      const real: Real = { bench, store: await bench.open() }
      const model: Model = { rows: new Map(), bodies: new Map() }
      await fc.asyncModelRun(() => ({ model, real }), [...made, closeAndOpen()])
      await real.store.close()
    } finally {
      await bench.remove()
    }
  })
  await fc.assert(property, { numRuns: runs })
}
