/**
 * What the gateway may ask of the rooms behind it. The gateway knows HTTP and these types;
 * coordinator.ts gives it the real ones, a test may give it others.
 *
 * Everything that fails throws a HyperError of the table in protocol/errors.ts.
 */

import type { CallState, CallStatus, Outcome } from '../protocol/call.ts'
import type { Func, FuncSpec, FuncUpdate } from '../protocol/func.ts'
import type { ImageRecord } from '../protocol/image.ts'
import type { Labels } from '../protocol/labels.ts'
import type { LogLine } from '../protocol/log-line.ts'

export interface Account {
  /** Stable; names can be given again. */
  readonly id: string
  readonly name: string
  readonly quota: number
  /** May manage accounts, agents and invitations. */
  readonly operator: boolean
  readonly accessKey: string
  readonly created: string
}

export interface Credentials {
  readonly name: string
  readonly token: string
  readonly accessKey: string
  readonly secretKey: string
  readonly quota: number
}

/** A function with what only the coordinator knows of it. */
export interface StoredFunc {
  readonly id: string
  readonly accountId: string
  readonly func: Func
  readonly image: ImageRecord
}

export interface Accounts {
  /** The account of a Bearer token, compared by hash in constant time; null for none. */
  byToken(token: string): Account | null
  /** The account of an access key, with the secret that its signatures are checked against. */
  byAccessKey(accessKey: string): { readonly account: Account; readonly secretKey: string } | null
  list(): readonly Account[]
  /** NAME_TAKEN, BAD_PARAMETER */
  create(name: string, quota: number): Promise<Credentials>
  /** ACCOUNT_NOT_FOUND */
  setQuota(name: string, quota: number): Promise<Account>
  rotate(name: string): Promise<Credentials>
  /** FUNC_BUSY while it has functions; FORBIDDEN for the operator's account. */
  remove(name: string): Promise<void>
}

export interface Funcs {
  /** Pins the image (pulling it first where it is not known). NAME_TAKEN, IMAGE_NOT_FOUND, NO_AGENT … */
  create(account: Account, spec: FuncSpec): Promise<StoredFunc>
  /** FUNC_NOT_FOUND. A new revision; calls accepted before keep theirs. */
  update(account: Account, name: string, update: FuncUpdate): Promise<StoredFunc>
  list(account: Account): readonly StoredFunc[]
  get(account: Account, name: string): StoredFunc | null
  /** Call plane: by name and secret, compared in constant time; null for either being wrong. */
  byUrl(name: string, uuid: string): StoredFunc | null
  byId(funcId: string): StoredFunc | null
  /** FUNC_NOT_FOUND, FUNC_BUSY while a call waits or runs (without force). */
  remove(account: Account, name: string, force: boolean): Promise<void>
}

export interface Images {
  list(account: Account): readonly ImageRecord[]
  /** By any reference to it; null where the account never pulled it. */
  get(account: Account, reference: string): ImageRecord | null
  /**
   * Has an agent pull it and keeps the record. `onProgress` gets Docker's progress objects, one
   * JSON text a line, as they come. IMAGE_NOT_FOUND, REGISTRY_UNAUTHORIZED, PULL_FAILED, NO_AGENT.
   */
  pull(
    account: Account,
    reference: string,
    auth: string,
    onProgress: (line: string) => void,
    signal: AbortSignal,
  ): Promise<ImageRecord>
}

export interface CallRequest {
  readonly stored: StoredFunc
  readonly payload: Uint8Array
  /** Whole environment of the call without HYPER_* (protocol/environment.ts). */
  readonly environment: readonly string[]
  /** What to say in the log about it: dropped headers. '' for nothing. */
  readonly note: string
}

export interface CallView {
  readonly id: string
  readonly funcId: string
  readonly state: CallState
  readonly created: string
  /** Calls of the account before it, while it waits. */
  readonly position: number
  /** Why it failed, or why it waits; null for nothing to say. */
  readonly message: string | null
}

/** A final answer. `body` is STDOUT, or the text that says why not. */
export interface FinalAnswer {
  readonly callId: string
  readonly attempt: number
  readonly outcome: Outcome
  /** 200, 500, 504 or 509; 410 where the body is gone (then `body` is empty). */
  readonly httpStatus: number
  readonly body: Uint8Array
}

interface Counts {
  readonly pending: number
  readonly running: number
  readonly finished: number
  readonly failed: number
}

export interface ListedCall {
  readonly callId: string
  readonly created: string
  readonly status: CallStatus
  readonly message: string | null
}

export interface Calls {
  /** Resolves once the call is durable. QUEUE_FULL, STOPPING. */
  accept(request: CallRequest): Promise<string>
  /**
   * Accepts and waits for the end. The answer's body is owed to this caller: it must say
   * `delivered` or `undelivered` afterwards, and `undelivered` when it goes away before.
   */
  acceptSync(request: CallRequest): {
    readonly callId: string
    readonly answer: Promise<FinalAnswer>
  }
  /** The call as it stands; null where no such call belongs to the function. */
  find(funcId: string, callId: string): Promise<CallView | null>
  /** Which function a call belongs to; null for no such call of the account. */
  funcOf(account: Account, callId: string): Promise<StoredFunc | null>
  /** The final answer of a call that ended, else null. Does not count as a delivery. */
  answer(funcId: string, callId: string): Promise<FinalAnswer | null>
  /** Waits for the end, for hours if need be. Throws the signal's reason when it is aborted. */
  waitForAnswer(funcId: string, callId: string, signal: AbortSignal): Promise<FinalAnswer>
  /** All STDERR that was kept of a call that ended. CALL_NOT_FOUND, STDERR_GONE */
  stderr(funcId: string, callId: string): Promise<Uint8Array>
  /** The body was sent whole and the socket did not fail: read-once begins its 60 s. */
  delivered(callId: string): void
  undelivered(callId: string): void
  /** CALL_NOT_FOUND, CALL_FINAL */
  cancel(funcId: string, callId: string): Promise<void>
  counts(funcId: string): Counts
  /** Of its oldest call that waits; null for none, or for nothing to say. */
  whyWaiting(funcId: string): string | null
  /** Newest first. */
  list(funcId: string, limit: number, before: string | null): Promise<readonly ListedCall[]>
}

export interface LogQuery {
  readonly callId: string | null
  /** Lines with a greater Seq. */
  readonly since: number
  /** The last so many lines; null for all. */
  readonly tail: number | null
}

export interface Logs {
  read(funcId: string, query: LogQuery): AsyncIterable<LogLine>
  /** What is there, then what comes, without a gap, until the signal is aborted. */
  follow(funcId: string, query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>
}

export interface AgentView {
  readonly agent: string
  readonly peerId: string
  /** `left` and `revoked`: also those that are no members any more, for a while. */
  readonly state: 'alive' | 'suspect' | 'draining' | 'left' | 'lost' | 'revoked' | 'epoch ahead'
  /** Why it is in that state, or is given no calls though it is alive; '' where there is nothing. */
  readonly reason: string
  readonly connected: boolean
  /** False: it is shown for what it was. */
  readonly member: boolean
  readonly slots: number
  readonly free: number
  readonly running: number
  readonly ready: number
  readonly memoryBytes: number
  readonly memoryFreeBytes: number
  readonly images: number
  readonly version: string
  readonly platform: string
  /** Who starts its containers, and why it is not the OCI runtime itself. */
  readonly runner: { readonly name: string; readonly reason: string } | null
  readonly labels: Readonly<Record<string, string>>
  readonly seen: string | null
}

interface InviteOrder {
  readonly uses: number
  readonly expiresMs: number
  /** What the hosts that join with it are labelled with, whatever they say of themselves. */
  readonly labels: Labels
  /** Without addresses: for hosts on the coordinator's LAN. */
  readonly lan: boolean
}

interface Invite {
  readonly ticket: string
  readonly peerId: string
  readonly expires: string
  readonly uses: number
}

export interface Agents {
  list(): readonly AgentView[]
  /** By name, peer id, or unique prefix of it. AGENT_NOT_FOUND */
  drain(agent: string, draining: boolean): Promise<void>
  remove(agent: string): Promise<void>
  invite(order: InviteOrder): Promise<Invite>
}

export interface Backups {
  /**
   * Everything that is committed now, as the frames of protocol/backup.ts. Whoever opened it closes
   * it, read or not. BACKUP_BUSY while there is another.
   */
  open(): Promise<{ readonly frames: AsyncIterable<Uint8Array>; close(): Promise<void> }>
}

export interface Overview {
  readonly version: string
  readonly peerId: string
  readonly mesh: readonly string[]
  /** Why it could not serve a call now; empty when it can. */
  readonly notReady: readonly string[]
  usage(account: Account): { readonly running: number; readonly waiting: number }
}

export interface Ports {
  readonly accounts: Accounts
  readonly funcs: Funcs
  readonly images: Images
  readonly calls: Calls
  readonly logs: Logs
  readonly agents: Agents
  readonly backups: Backups
  /** The URL that users know the gateway by; cheap, unlike an overview. */
  publicUrl(): string
  overview(): Overview
}
