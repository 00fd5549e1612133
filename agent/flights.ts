/**
 * One pull serves all who wait for it. No single one of them may end it; when nobody waits any
 * longer it is ended.
 */

import { raceAbort } from '../protocol/abort.ts'

export interface Flights<T> {
  /** Joins the flight of this name, or starts one. Rejects if aborted while it waits. */
  join(name: string, start: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T>
}

interface Flight<T> {
  readonly landing: Promise<T>
  readonly stop: AbortController
  waiting: number
}

export const createFlights = <T>(): Flights<T> => {
  const flights = new Map<string, Flight<T>>()

  const begin = (name: string, start: (signal: AbortSignal) => Promise<T>): Flight<T> => {
    const stop = new AbortController()
    const flight: Flight<T> = { landing: start(stop.signal), stop, waiting: 0 }
    const forget = (): void => {
      if (flights.get(name) === flight) flights.delete(name)
    }
    flight.landing.then(forget, forget)
    flights.set(name, flight)
    return flight
  }

  return {
    async join(name, start, signal) {
      signal.throwIfAborted()
      const flight = flights.get(name) ?? begin(name, start)
      flight.waiting += 1
      try {
        return await raceAbort(flight.landing, signal)
      } finally {
        flight.waiting -= 1
        if (flight.waiting === 0) {
          // Whoever comes from now on needs one of their own.
          if (flights.get(name) === flight) flights.delete(name)
          flight.stop.abort(signal.reason)
        }
      }
    },
  }
}
