/**
 * What is refused while the disk has no room for it (disk-room.ts): whatever makes the state grow.
 * What ends, removes or reads goes on.
 */

import type { Ports } from './ports.ts'

/** The same ports; `check` throws where nothing new is to be taken. */
export const withAdmission = (ports: Ports, check: () => void): Ports => {
  const { accounts, funcs, images, calls, agents } = ports
  const guard =
    <A extends readonly unknown[], R>(act: (...args: A) => R) =>
    (...args: A): R => {
      check()
      return act(...args)
    }
  return {
    ...ports,
    accounts: { ...accounts, create: guard(accounts.create) },
    funcs: { ...funcs, create: guard(funcs.create), update: guard(funcs.update) },
    images: { ...images, pull: guard(images.pull) },
    calls: { ...calls, accept: guard(calls.accept), acceptSync: guard(calls.acceptSync) },
    agents: { ...agents, invite: guard(agents.invite) },
  }
}
