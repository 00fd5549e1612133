/**
 * What coordinator and agent say to each other on their one long-lived stream, one dag-cbor value a
 * frame. The agent dials and opens with `hello`; the coordinator answers with `welcome`, which opens
 * a *session*; every later message carries the session's number, and those of an earlier session
 * are ignored. Every order carries the coordinator's epoch.
 */

import * as cbor from '@ipld/dag-cbor'
import Type, { type Static, type TSchema } from 'typebox'
import { AttemptKeySchema, AttemptResultSchema, ErrorCodeSchema } from './call.ts'
import { decodeBounded } from './cbor.ts'
import { NetworkSchema, ProfileSchema } from './func.ts'
import { ImagePinSchema, ImageRecordSchema } from './image.ts'
import { LabelsSchema } from './labels.ts'
import { limits } from './limits.ts'
import { Bytes, Count, createParser } from './schema.ts'

/**
 * Raised whenever a message changes so that the former version would misread it, or lacks it; what
 * changed is told in versions.ts.
 */
export const PROTOCOL_VERSION = 3
/** A coordinator serves agents of this version up to its own. */
export const PROTOCOL_VERSION_OLDEST = 2
/** Agents of this version and later ask for the credentials of a pull (`want-registry-auth`). */
export const REGISTRY_AUTH_SINCE = 3
export const AGENT_PROTOCOL = '/hyper-func/agent/1'
export const ENROL_PROTOCOL = '/hyper-func/enrol/1'
export const ADVERT_TOPIC = 'hyper-func/adverts/1'

/** A line for people. */
const Line = Type.String({ maxLength: limits.lineCharsMax })
const Words = Type.Array(Type.String())
const AttemptsOf = <S extends TSchema>(item: S) =>
  Type.Array(item, { maxItems: limits.attemptsNamedMax })

/** What fixes a container when it is created: see ready-key.ts. */
const PREPARATION = {
  image: ImagePinSchema,
  workingDir: Type.String(),
  user: Type.String(),
  network: NetworkSchema,
  runtime: Type.String(),
  profile: ProfileSchema,
  memoryBytes: Count(),
  cpus: Count(),
}
const PreparationSchema = Type.Object(PREPARATION)
export type Preparation = Static<typeof PreparationSchema>

/** Everything an agent needs to run one attempt. */
const AssignmentSchema = Type.Object({
  ...PREPARATION,
  key: AttemptKeySchema,
  func: Type.Object({ id: Type.String(), name: Type.String(), revision: Count() }),
  entrypoint: Type.Union([Words, Type.Null()]),
  cmd: Type.Union([Words, Type.Null()]),
  /** In order, later wins; the image's own Env comes before these. */
  environment: Words,
  stopSignal: Type.String(),
  /** 0 is no limit. */
  timeoutMs: Count(),
  atMostOnce: Type.Boolean(),
  payload: Bytes(limits.payloadBytesMax),
})
export type Assignment = Static<typeof AssignmentSchema>

/** What the agent is and holds, told at every connection. */
const HelloSchema = Type.Object({
  type: Type.Literal('hello'),
  protocol: Count(),
  version: Type.String({ maxLength: limits.agentWordCharsMax }),
  /** Changes when the agent's store was lost: what it does not know then proves nothing. */
  storeId: Type.String({ maxLength: limits.agentWordCharsMax }),
  /**
   * How often an agent was started on this store, and its hellos since: connections are not heard in
   * the order in which they were made, and what an old hello does not name proves nothing.
   */
  start: Count(),
  greeting: Count(),
  /** Of this one process: one that was copied with its store counts its starts alike. */
  instance: Type.Optional(Type.String({ maxLength: limits.agentWordCharsMax })),
  /** Highest epoch the agent has obeyed. */
  epochSeen: Count(),
  host: Type.String({ maxLength: limits.hostCharsMax }),
  slots: Count(limits.slotsMax),
  memoryBytes: Count(),
  platform: Type.String({ maxLength: limits.agentWordCharsMax }),
  runtimes: Type.Array(Type.String({ maxLength: limits.runtimeCharsMax }), {
    maxItems: limits.runtimesMax,
  }),
  /** Who starts containers there, and why it is not the OCI runtime itself. */
  runner: Type.Optional(
    Type.Object({
      name: Type.Union([Type.Literal('docker'), Type.Literal('oci')]),
      reason: Type.String({ maxLength: limits.runnerReasonCharsMax }),
    }),
  ),
  labels: LabelsSchema,
  draining: Type.Boolean(),
  /** Attempts it holds: being prepared or running. */
  attempts: AttemptsOf(Type.Object({ key: AttemptKeySchema, running: Type.Boolean() })),
  /** Attempts whose results wait for an acknowledgement; the results follow as messages. */
  outbox: AttemptsOf(AttemptKeySchema),
})
export type Hello = Static<typeof HelloSchema>

/**
 * What of a hello holds while the agent is away: not what is of this one moment. Its labels are with
 * those of its invitation, so there can be more.
 */
export const AgentFactsSchema = Type.Object({
  ...Type.Omit(HelloSchema, [
    'type',
    'attempts',
    'outbox',
    'start',
    'greeting',
    'instance',
    'labels',
  ]).properties,
  labels: Type.Record(Type.String(), Type.String()),
})
export type AgentFacts = Static<typeof AgentFactsSchema>

export const factsOf = (hello: Hello): AgentFacts => {
  const { type: _type, attempts: _attempts, outbox: _outbox, ...rest } = hello
  const { start: _start, greeting: _greeting, instance: _instance, ...facts } = rest
  return facts
}

const ToAgent = Type.Union([
  /** Each reported attempt is answered; `report` ones are answered once their result came. */
  Type.Object({
    type: Type.Literal('welcome'),
    session: Count(),
    epoch: Count(),
    version: Type.String({ maxLength: limits.agentWordCharsMax }),
    name: Type.String(),
    verdicts: Type.Array(
      Type.Object({
        key: AttemptKeySchema,
        verdict: Type.Union([
          Type.Literal('keep'),
          Type.Literal('cancel'),
          Type.Literal('drop'),
          Type.Literal('commit'),
        ]),
      }),
    ),
    /** Multiaddrs without the peer id, at which the coordinator can be reached. Since version 3. */
    addresses: Type.Optional(
      Type.Array(Type.String({ maxLength: limits.addressCharsMax }), {
        maxItems: limits.ticketAddressesMax,
      }),
    ),
  }),
  /** The hello is refused; the connection ends. */
  Type.Object({ type: Type.Literal('goodbye'), code: ErrorCodeSchema, message: Type.String() }),
  Type.Object({
    type: Type.Literal('assign'),
    session: Count(),
    epoch: Count(),
    assignment: AssignmentSchema,
  }),
  Type.Object({
    type: Type.Literal('cancel'),
    session: Count(),
    epoch: Count(),
    key: AttemptKeySchema,
  }),
  /** A call of this kind may come soon: one container of it is made ready. */
  Type.Object({
    type: Type.Literal('prepare'),
    session: Count(),
    epoch: Count(),
    preparation: PreparationSchema,
  }),
  /** The result is committed (or of no use any more): the outbox entry can go. */
  Type.Object({
    type: Type.Literal('acknowledge'),
    session: Count(),
    epoch: Count(),
    key: AttemptKeySchema,
  }),
  Type.Object({ type: Type.Literal('renewed'), session: Count(), epoch: Count() }),
  Type.Object({
    type: Type.Literal('drain'),
    session: Count(),
    epoch: Count(),
    draining: Type.Boolean(),
  }),
  Type.Object({
    type: Type.Literal('pull'),
    session: Count(),
    epoch: Count(),
    pull: Count(),
    reference: Type.String(),
    /** Value of Docker's X-Registry-Auth, padded base64; '' for none. Never stored by the agent. */
    auth: Type.String({ maxLength: limits.registryAuthCharsMax }),
  }),
  /** To `want-registry-auth`; as in `pull`. '': the account has none for that registry. */
  Type.Object({
    type: Type.Literal('registry-auth'),
    session: Count(),
    epoch: Count(),
    key: AttemptKeySchema,
    auth: Type.String({ maxLength: limits.registryAuthCharsMax }),
  }),
  /** Nobody waits for this pull any more. */
  Type.Object({
    type: Type.Literal('cancel-pull'),
    session: Count(),
    epoch: Count(),
    pull: Count(),
  }),
])

const ToCoordinator = Type.Union([
  HelloSchema,
  /** Renews the leases of the attempts it names; all that the agent holds. */
  Type.Object({
    type: Type.Literal('heartbeat'),
    session: Count(),
    attempts: AttemptsOf(AttemptKeySchema),
  }),
  /** The function's process was started. */
  Type.Object({ type: Type.Literal('started'), session: Count(), key: AttemptKeySchema }),
  /** Proven never to have started: no room, draining, or not possible here. */
  Type.Object({
    type: Type.Literal('refused'),
    session: Count(),
    key: AttemptKeySchema,
    message: Line,
  }),
  Type.Object({
    type: Type.Literal('result'),
    session: Count(),
    key: AttemptKeySchema,
    result: AttemptResultSchema,
  }),
  /** A cancelled attempt's container is gone. */
  Type.Object({ type: Type.Literal('gone'), session: Count(), key: AttemptKeySchema }),
  /** The image of this attempt is not here: the pull that it needs is one with credentials. */
  Type.Object({
    type: Type.Literal('want-registry-auth'),
    session: Count(),
    key: AttemptKeySchema,
  }),
  Type.Object({ type: Type.Literal('draining'), session: Count(), draining: Type.Boolean() }),
  /** The agent leaves for good when its calls have ended; it takes no more. */
  Type.Object({ type: Type.Literal('leave'), session: Count() }),
  /** One line of Docker's pull progress, as the engine wrote it. */
  Type.Object({
    type: Type.Literal('pull-progress'),
    session: Count(),
    pull: Count(),
    line: Type.String({ maxLength: limits.pullLineCharsMax }),
  }),
  Type.Object({
    type: Type.Literal('pull-end'),
    session: Count(),
    pull: Count(),
    record: Type.Union([ImageRecordSchema, Type.Null()]),
    /** Where record is null: IMAGE_NOT_FOUND, REGISTRY_UNAUTHORIZED, PULL_FAILED … */
    code: ErrorCodeSchema,
    message: Line,
  }),
])

export type AgentMessage = Static<typeof ToCoordinator>
export type CoordinatorMessage = Static<typeof ToAgent>
export type CoordinatorOrder = Exclude<CoordinatorMessage, { type: 'welcome' | 'goodbye' }>
export type PullOrder = Extract<CoordinatorMessage, { type: 'pull' }>
export type Welcome = Extract<CoordinatorMessage, { type: 'welcome' }>
export type Verdict = Welcome['verdicts'][number]

const parseFromAgent = createParser(ToCoordinator, 'BAD_PARAMETER', 'message of an agent')
const parseFromCoordinator = createParser(ToAgent, 'BAD_PARAMETER', 'message of the coordinator')

export const encodeMessage = (message: AgentMessage | CoordinatorMessage): Uint8Array =>
  cbor.encode(message)
export const decodeAgentMessage = (bytes: Uint8Array): AgentMessage =>
  parseFromAgent(decodeBounded(bytes))
export const decodeCoordinatorMessage = (bytes: Uint8Array): CoordinatorMessage =>
  parseFromCoordinator(decodeBounded(bytes))
