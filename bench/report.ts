/**
 * What a bench prints of its figures and bounds, and what every bench keeps: its figures beside the
 * machine they were measured on, as one JSON file.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { arch, cpus, release, totalmem } from 'node:os'
import type { Figures } from './statistics.ts'

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

/** Prints whether the bound holds; the process ends with 1 where it does not. */
export const check = (what: string, value: number, bound: { min?: number; max?: number }): void => {
  const isOver = !(value >= (bound.min ?? -Infinity) && value <= (bound.max ?? Infinity))
  if (isOver) process.exitCode = 1
  const limit =
    bound.min === undefined
      ? `at most ${bound.max?.toFixed(3)}`
      : `at least ${bound.min.toFixed(3)}`
  console.log(`${isOver ? 'OVER' : 'ok  '} ${what}: ${value.toFixed(3)} (${limit})`)
}

/** Prints a series, in ms. */
export const show = (name: string, { n, min, median, p99 }: Figures): void => {
  const numbers = [min, median, p99].map((ms) => ms.toFixed(1).padStart(9)).join('')
  console.log(`     ${name.padEnd(28)} n ${String(n).padStart(4)}   min/median/p99 ms${numbers}`)
}
