/**
 * The contract of a runner: starts a container around hyper-init, hands over its streams, ends it,
 * lists its own. `docker.ts` goes through the engine, `oci/oci.ts` starts the OCI runtime itself. What
 * is started waits in hyper-init for its one frame; until then no code of the function has run in it,
 * so that a container can be started before there is a call for it.
 *
 * Everything a runner starts carries labels: of this agent, of one store. It touches nothing else.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Fence } from '../host-config.ts'

/** For starts whose caller has given up. */
export const cancelled = (): HyperError =>
  new HyperError('CALL_CANCELLED', 'cancelled before it was started')

/** Resolves when `gone` does, or when a container that was let go of is not waited for any longer. */
export const released = async (gone: Promise<unknown>): Promise<void> => {
  const left = new AbortController()
  const late = pause(limits.releaseMsMax, null, { ref: false, signal: left.signal })
  await Promise.race([gone, late.catch(() => null)])
  left.abort()
}

export interface ContainerSpec {
  /** The engine's id of the image. */
  readonly image: string
  readonly user: string
  readonly workingDir: string
  readonly fence: Fence
  /** The engine's id of the network; '' where there is none. */
  readonly network: string
  /** Beside those of the agent, which the runner adds. */
  readonly labels: Readonly<Record<string, string>>
}

export interface Sinks {
  onStdout(chunk: Uint8Array): void
  onStderr(chunk: Uint8Array): void
}

export interface ContainerState {
  readonly isRunning: boolean
  readonly exitCode: number
  readonly oomKilled: boolean
}

export interface RunningContainer {
  readonly id: string
  /** Both streams from here on, until `ignore`. To be called once, before anything is written to it. */
  read(sinks: Sinks): void
  /** Writes to STDIN. Never fails: a container that is gone shows in `ended`. */
  write(chunks: readonly Uint8Array[]): void
  /** Stops reading: the container's writes then wait for us, and nothing is buffered. */
  pause(): void
  /** What still comes is dropped, and the sinks are let go of. */
  ignore(): void
  /** Both streams ended (null), or the connection to them broke: also while nobody reads them. */
  readonly ended: Promise<Error | null>
  /**
   * For one that has told all: lets hyper-init go, which costs the engine less than to end it.
   * Resolves when it is gone, or was given up.
   */
  release(): Promise<void>
  /**
   * Lets go of the streams; a process that runs goes on. hyper-init without a call, or with its call
   * told, ends.
   */
  detach(): void
}

export interface OwnContainer {
  readonly id: string
  readonly isRunning: boolean
  readonly labels: Readonly<Record<string, string>>
}

export interface Runner {
  /** START_FAILED, USER_NOT_FOUND, WORKING_DIR_INVALID, IMAGE_NOT_FOUND … leave nothing behind. */
  start(spec: ContainerSpec, signal: AbortSignal): Promise<RunningContainer>
  /** Null where there is no such container. Throws where that cannot be told. */
  state(id: string, signal: AbortSignal): Promise<ContainerState | null>
  /** What it wrote to its root on disk; costs a walk through those files. 0 where there is none of that id. */
  writtenBytes(id: string, signal: AbortSignal): Promise<number>
  /** Resolves at the container's end, or when it is gone. */
  waitForEnd(id: string, signal: AbortSignal): Promise<void>
  /** What a container that ended had written, byte for byte, as far as its log kept it. */
  readLog(id: string, sinks: Sinks, signal: AbortSignal): Promise<void>
  /** Ends and removes it with its volumes. Done as well where there is none. */
  remove(id: string, signal: AbortSignal): Promise<void>
  /** All containers of this agent, in any state. */
  list(signal: AbortSignal): Promise<readonly OwnContainer[]>
}
