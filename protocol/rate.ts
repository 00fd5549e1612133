/** A bound of how often something may happen: a burst at once, and so many a second after it. Pure. */

interface RateOptions {
  readonly perSecond: number
  readonly burst: number
}

export interface Rate {
  /** Whether it may happen now; then it counts. */
  take(nowMs: number): boolean
  /** It did not count after all. */
  giveBack(): void
  /** As if nothing had ever happened: it need not be remembered. */
  isFull(nowMs: number): boolean
}

export const createRate = ({ perSecond, burst }: RateOptions): Rate => {
  let left = burst
  let atMs = Number.NEGATIVE_INFINITY

  const refill = (nowMs: number): void => {
    left = Math.min(burst, left + (Math.max(0, nowMs - atMs) * perSecond) / 1000)
    atMs = nowMs
  }

  return {
    take(nowMs) {
      refill(nowMs)
      if (left < 1) return false
      left -= 1
      return true
    },
    giveBack() {
      left = Math.min(burst, left + 1)
    },
    isFull(nowMs) {
      refill(nowMs)
      return left === burst
    },
  }
}

export interface Rates {
  /** Of one name. */
  take(name: string): boolean
  giveBack(name: string): void
}

/** One rate a name. Names that have not been used for a while are forgotten; at most `namesMax` are kept. */
export const createRates = (
  options: RateOptions & { readonly namesMax: number },
  now: () => number,
): Rates => {
  const rates = new Map<string, Rate>()

  const forget = (): void => {
    const nowMs = now()
    for (const [name, rate] of rates) {
      if (rate.isFull(nowMs)) rates.delete(name)
    }
    // All of them are busy: whoever was known first is known no more.
    const [first] = rates.keys()
    if (rates.size >= options.namesMax && first !== undefined) rates.delete(first)
  }

  const rateOf = (name: string): Rate => {
    const known = rates.get(name)
    if (known !== undefined) return known
    if (rates.size >= options.namesMax) forget()
    const rate = createRate(options)
    rates.set(name, rate)
    return rate
  }

  return {
    take: (name) => rateOf(name).take(now()),
    giveBack: (name) => rates.get(name)?.giveBack(),
  }
}
