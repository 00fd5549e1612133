/** Figures of a series of measurements, in the unit of the series. */

export interface Figures {
  readonly n: number
  readonly min: number
  readonly median: number
  readonly p99: number
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN

export const figuresOf = (values: readonly number[]): Figures => {
  const sorted = [...values].sort((a, b) => a - b)
  const round = (value: number): number => Math.round(value * 100) / 100
  return {
    n: sorted.length,
    min: round(sorted[0] ?? Number.NaN),
    median: round(at(sorted, 0.5)),
    p99: round(at(sorted, 0.99)),
  }
}
