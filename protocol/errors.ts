/**
 * The one table of errors. A code is a contract: the API, the CLI, logs and docs all use it.
 *
 * http      status of the answer
 * exit      exit code of the CLI (for `func call --sync` and `func get`; see EXIT for the others)
 * fault     whose it is: the caller's, the function's (its image or program), or ours
 * retryable the same request may succeed later
 * next      what to do next, one sentence; '' where the message itself says it
 *
 * Outcomes of calls are rows like any other: `X-Hyper-Reason` carries their code.
 */

interface ErrorRow {
  readonly http: number
  readonly exit: number
  readonly fault: 'none' | 'caller' | 'function' | 'platform'
  readonly retryable: boolean
  readonly next: string
}

const row = (
  http: number,
  exit: number,
  fault: ErrorRow['fault'],
  retryable: boolean,
  next: string,
): ErrorRow => ({ http, exit, fault, retryable, next })

/** Exit codes of the CLI that do not come from a function. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  notAllowed: 4,
  unreachable: 5,
  ticketExpired: 6,
  wrongCoordinator: 7,
  keyInUse: 8,
  versionMismatch: 9,
  notFinished: 75,
  timedOut: 124,
  platform: 125,
  notExecutable: 126,
  commandNotFound: 127,
  interrupted: 130,
  killed: 137,
} as const

// biome-ignore format: a table, one line a row
export const ERRORS = {
  // Outcomes of a call
  FINISHED: row(200, 0, 'none', false, ''),
  CALL_EXITED: row(500, 1, 'function', false, ''),
  CALL_SIGNALLED: row(500, EXIT.killed, 'function', false, ''),
  CALL_OUT_OF_MEMORY: row(500, EXIT.killed, 'function', false, 'Give the function a larger --size.'),
  CALL_TIMED_OUT: row(504, EXIT.timedOut, 'function', false, 'Give the function a longer --timeout.'),
  CALL_DISK_FULL: row(500, EXIT.killed, 'function', false, 'Write less to the container’s root.'),
  CALL_CANCELLED: row(500, EXIT.platform, 'caller', false, ''),
  OUTPUT_TOO_LARGE: row(509, EXIT.platform, 'function', false, 'Write at most 1 MB to STDOUT.'),
  COMMAND_NOT_FOUND: row(500, EXIT.commandNotFound, 'function', false, 'Check the command against the image.'),
  COMMAND_NOT_EXECUTABLE: row(500, EXIT.notExecutable, 'function', false, 'Check the command’s mode and platform.'),
  PLATFORM_MISMATCH: row(500, EXIT.notExecutable, 'function', false, 'Use an image that is built for the agents’ platform.'),
  USER_NOT_FOUND: row(500, EXIT.platform, 'function', false, 'Name a user that the image’s /etc/passwd has.'),
  WORKING_DIR_INVALID: row(500, EXIT.platform, 'function', false, 'Name a directory with -w that the image can have.'),
  OUTPUT_GONE: row(410, EXIT.notFound, 'none', false, 'Outputs can be fetched once, and for 60 s after it.'),
  STDERR_GONE: row(410, EXIT.notFound, 'none', false, 'Logs keep the newest 50 MB of each function.'),
  AGENT_LOST: row(500, EXIT.platform, 'platform', true, 'Look at `hyper agents`; call again.'),
  START_FAILED: row(500, EXIT.platform, 'platform', true, 'Look at the agent’s engine with `docker info` on its host; call again.'),
  NOT_PLACED: row(500, EXIT.platform, 'platform', true, 'Add an agent with enough room, or a smaller --size.'),
  CALL_RUNNING: row(201, EXIT.notFinished, 'none', true, ''),
  CALL_WAITING: row(202, EXIT.notFinished, 'none', true, ''),

  // Requests
  BAD_PARAMETER: row(400, EXIT.usage, 'caller', false, ''),
  UNSUPPORTED: row(400, EXIT.usage, 'caller', false, 'Leave the field out.'),
  HEADERS_TOO_LARGE: row(431, EXIT.failed, 'caller', false, 'Send less in headers and in the function’s environment.'),
  PAYLOAD_TOO_LARGE: row(413, EXIT.platform, 'caller', false, 'Send at most 1 MB (1,048,576 bytes).'),
  BODY_TOO_LARGE: row(413, EXIT.failed, 'caller', false, ''),
  REQUEST_TOO_SLOW: row(408, EXIT.failed, 'caller', true, ''),
  METHOD_NOT_ALLOWED: row(405, EXIT.failed, 'caller', false, ''),
  FOREIGN_ORIGIN: row(403, EXIT.notAllowed, 'caller', false, ''),
  UNAUTHORIZED: row(401, EXIT.notAllowed, 'caller', false, 'Store the account’s token with `hyper login URL`.'),
  FORBIDDEN: row(403, EXIT.notAllowed, 'caller', false, 'Use the operator’s account.'),
  NOT_FOUND: row(404, EXIT.notFound, 'caller', false, ''),
  FUNC_NOT_FOUND: row(404, EXIT.notFound, 'caller', false, 'See `hyper func ls`.'),
  CALL_NOT_FOUND: row(404, EXIT.notFound, 'caller', false, 'See `hyper func logs NAME` for the ids of its calls.'),
  IMAGE_NOT_FOUND: row(404, EXIT.notFound, 'caller', false, 'Check the name; `hyper pull IMAGE` tells more.'),
  REGISTRY_UNAUTHORIZED: row(401, EXIT.notAllowed, 'caller', false, 'Send the registry’s credentials with the pull.'),
  ACCOUNT_NOT_FOUND: row(404, EXIT.notFound, 'caller', false, 'See `hyper account ls`.'),
  AGENT_NOT_FOUND: row(404, EXIT.notFound, 'caller', false, 'See `hyper agents`.'),
  NAME_TAKEN: row(409, EXIT.failed, 'caller', false, 'Choose another name, or remove the old one first.'),
  ACCOUNT_BUSY: row(409, EXIT.failed, 'caller', true, 'Remove them first: `hyper func rm`.'),
  FUNC_BUSY: row(409, EXIT.failed, 'caller', true, 'Wait for its calls, or remove it with -f.'),
  CALL_FINAL: row(409, EXIT.failed, 'caller', false, ''),
  QUEUE_FULL: row(429, EXIT.platform, 'caller', true, 'Wait for queued calls to end.'),
  TOO_MANY: row(409, EXIT.failed, 'caller', false, 'Remove some first.'),

  // Ours
  NO_AGENT: row(503, EXIT.platform, 'platform', true, 'Start one with `hyper agent`, or `hyper invite` another host.'),
  PULL_FAILED: row(503, EXIT.failed, 'platform', true, 'Check the agent’s way to the registry; try again.'),
  DISK_FAILED: row(500, EXIT.failed, 'platform', true, 'Look at the disk and at who may read it, and start again; nothing was changed.'),
  DISK_FULL: row(503, EXIT.platform, 'platform', true, 'Free space on the coordinator’s disk; it takes calls again by itself.'),
  DISK_FAILING: row(503, EXIT.platform, 'platform', true, 'Look at the coordinator’s disk and log; it tries again by itself.'),
  STOPPING: row(503, EXIT.platform, 'platform', true, 'Try again in a moment.'),
  OVERLOADED: row(503, EXIT.platform, 'platform', true, 'Try again in a moment.'),
  INTERNAL: row(500, EXIT.platform, 'platform', true, 'Look at the coordinator’s log.'),
  UNREACHABLE: row(503, EXIT.unreachable, 'platform', true, 'Start it with `npm start` or `hyper up`, or name another: with --endpoint, or by a new ticket.'),

  // Daemons
  ENGINE_UNSUITABLE: row(503, EXIT.failed, 'platform', false, ''),
  STATE_IN_USE: row(500, EXIT.failed, 'caller', false, 'Stop the other process, or set another HYPER_HOME.'),
  STATE_DAMAGED: row(500, EXIT.failed, 'platform', false, 'Of a coordinator: move the folder away and `hyper restore FILE`, or start with --accept-data-loss, which goes on without what is damaged. Of an agent: move away what is named (its `outbox`, or its `identity`); what it ran counts as lost.'),
  STATE_TOO_NEW: row(500, EXIT.failed, 'caller', false, 'Use the version of hyper that wrote it.'),
  STATE_TOO_OLD: row(500, EXIT.failed, 'caller', false, 'Use the version of hyper that wrote it, or move the folder away.'),
  BACKUP_TOO_OLD: row(400, EXIT.failed, 'caller', false, 'Restore it with the version of hyper that made it, then start this one.'),
  STATE_EXISTS: row(409, EXIT.failed, 'caller', false, 'Set another HYPER_HOME, or move the folder away.'),
  NOT_A_BACKUP: row(400, EXIT.failed, 'caller', false, 'Give a file that `hyper backup FILE` wrote.'),
  BACKUP_DAMAGED: row(400, EXIT.failed, 'caller', false, 'Use another backup; of this one nothing can be trusted.'),
  BACKUP_BUSY: row(409, EXIT.failed, 'caller', true, 'Wait until the other backup has ended.'),
  BACKUP_TOO_SLOW: row(503, EXIT.failed, 'caller', true, 'Write it to a faster disk, or nearer to the coordinator.'),
  ADDRESS_IN_USE: row(500, EXIT.failed, 'caller', false, 'Stop the other process, or choose another address.'),
  NOT_LOOPBACK: row(500, EXIT.usage, 'caller', false, 'Listen on 127.0.0.1, or say --insecure.'),
  TICKET_DAMAGED: row(400, EXIT.usage, 'caller', false, 'Copy the ticket whole; `hyper invite` prints a new one.'),
  TICKET_SPENT: row(403, EXIT.notAllowed, 'caller', false, 'Ask for a new one: `hyper invite`.'),
  TICKET_EXPIRED: row(403, EXIT.ticketExpired, 'caller', false, 'Ask for a new one: `hyper invite`; look at the clocks of both hosts if it should hold.'),
  WRONG_COORDINATOR: row(403, EXIT.wrongCoordinator, 'caller', true, 'Join by a ticket of the coordinator that is meant: `hyper invite` there prints one with its addresses of today.'),
  KEY_IN_USE: row(409, EXIT.keyInUse, 'caller', false, 'One key is for one agent: stop one of the two, or move its agent folder away and join with a ticket of its own.'),
  NOT_A_MEMBER: row(403, EXIT.notAllowed, 'caller', false, 'Join with a ticket: `hyper invite` on the coordinator prints one.'),
  FLOODED: row(429, EXIT.failed, 'caller', true, ''),
  KEPT_OFF: row(429, EXIT.failed, 'caller', true, 'The coordinator’s log says what it did; it is let in again by itself.'),
  VERSION_MISMATCH: row(400, EXIT.versionMismatch, 'caller', false, 'Coordinators are upgraded first, then agents and clients.'),
  EPOCH_AHEAD: row(409, EXIT.failed, 'platform', false, 'Stop this coordinator if another has taken over; if none has, start it with --raise-epoch.'),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(ERRORS, text)

/** The only error that crosses a room's border. `message` says what happened, on what, and why. */
export class HyperError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'HyperError'
    this.code = code
  }

  /** What happened and what to do next, in one line. */
  get line(): string {
    const next = ERRORS[this.code].next
    return next === '' ? this.message : `${this.message}. ${next}`
  }
}

/** A file or folder that is not there. */
export const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)

/** Turns anything thrown into a HyperError; what is not one already is ours (INTERNAL). */
export const toHyperError = (error: unknown): HyperError =>
  error instanceof HyperError
    ? error
    : new HyperError('INTERNAL', messageOf(error), { cause: error })
