/**
 * Assertions of what must be true if the code is right. They stay on in production: a daemon that
 * is wrong about itself stops at once and recovers from what it has committed.
 */

export function assert(condition: boolean, why: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${why}`)
}

export function assertNever(value: never): never {
  throw new Error(`assertion failed: no case for ${JSON.stringify(value)}`)
}
