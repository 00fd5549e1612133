/**
 * The typed client of a coordinator's HTTP API; what `import 'hyper-func'` gives. It holds no
 * connection and needs no closing. Everything that fails throws a HyperError of the table in
 * protocol/errors.ts, or the signal's reason.
 */

import { createBackup, type OpenBackup } from './backup.ts'
import { type Calls, createCalls } from './calls.ts'
import { createFuncs, type Funcs } from './funcs.ts'
import { createImages, type Images } from './images.ts'
import { createLogs, type Logs } from './logs.ts'
import { type Credentials, createManagement } from './management.ts'
import { createOperator, type Operator } from './operator.ts'
import { createTransport } from './transport.ts'

export { type ErrorCode, HyperError } from '../protocol/errors.ts'
export type {
  CallAnswer,
  CallOptions,
  CallStderr,
  FuncAddress,
  FuncStatus,
  ListedCall,
} from './calls.ts'
export type { FuncDefinition, FuncPatch, StoredFunc } from './funcs.ts'
export type { ListedImage, PullProgress } from './images.ts'
export type { LogLine, LogQuery } from './logs.ts'
export type {
  AccountCredentials,
  Invite,
  ListedAccount,
  ListedAgent,
  Overview,
  ServerVersion,
} from './operator.ts'

export interface ClientOptions extends Credentials {
  /** `http://127.0.0.1:7480` */
  readonly endpoint: string
  /** Ends everything this client has under way. */
  readonly signal?: AbortSignal
}

export interface Client extends Operator {
  readonly endpoint: string
  readonly funcs: Funcs
  readonly calls: Calls
  readonly logs: Logs
  readonly images: Images
  readonly backup: OpenBackup
}

export const createClient = (options: ClientOptions): Client => {
  const transport = createTransport(options)
  const management = createManagement(transport, options)
  return {
    ...createOperator(management),
    endpoint: transport.endpoint,
    funcs: createFuncs(management),
    calls: createCalls(transport),
    logs: createLogs(transport),
    images: createImages(transport, management),
    backup: createBackup(management),
  }
}
