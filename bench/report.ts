/** What every bench keeps: its figures beside the machine they were measured on, as one JSON file. */

import { mkdir, writeFile } from 'node:fs/promises'
import { arch, cpus, release, totalmem } from 'node:os'

const machine = () => ({
  cpus: cpus().length,
  model: cpus()[0]?.model ?? '',
  arch: arch(),
  kernel: release(),
  memoryBytes: totalmem(),
  node: process.version,
})

/** Writes bench/results/NAME.json. */
export const keepResults = async (name: string, figures: object): Promise<void> => {
  const results = new URL('results/', import.meta.url)
  await mkdir(results, { recursive: true })
  const kept = { measured: new Date().toISOString(), machine: machine(), ...figures }
  await writeFile(new URL(`${name}.json`, results), `${JSON.stringify(kept, null, 2)}\n`)
}
