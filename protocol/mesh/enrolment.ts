/**
 * Enrolment: how a new key gets on the coordinator's list (see Membership is by key in
 * ARCHITECTURE.md). The agent connects *as the invitation*, whose key its ticket carries, and proves
 * that it holds the new key:
 *
 *   agent (invitation's key)            coordinator
 *        ── opens ENROL_PROTOCOL ──►
 *        ◄─ challenge(nonce) ───────
 *        ── answer(new public key, signature over nonce and coordinator) ──►
 *        ◄─ outcome(ok, name | not, code, message) ──
 *
 * An invitation's connection may do nothing else. The list of invitations and members, with uses,
 * times and names, is the coordinator's: `admit` decides and keeps.
 */

import { randomBytes } from 'node:crypto'
import * as cbor from '@ipld/dag-cbor'
import { publicKeyFromProtobuf, publicKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Connection, PrivateKey, Stream } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { type LengthPrefixedStream, lpStream } from '@libp2p/utils'
import type { Logger as Log } from 'pino'
import Type, { type Static } from 'typebox'
import { ErrorCodeSchema } from '../call.ts'
import { HyperError, messageOf, toHyperError } from '../errors.ts'
import { limits } from '../limits.ts'
import { ENROL_PROTOCOL } from '../messages.ts'
import { Bytes, createParser } from '../schema.ts'
import { openProtocol, type Refusal } from './dial.ts'
import { invitationKey } from './identity.ts'
import { type CoordinatorNode, type Dialler, startDialler } from './node.ts'
import type { Ticket } from './ticket.ts'

const nonceBytes = 32
const Short = Bytes(limits.enrolmentBytesMax)

const parseChallenge = createParser(
  Type.Object({ nonce: Short }),
  'BAD_PARAMETER',
  'challenge of the coordinator',
)
const AnswerSchema = Type.Object({ publicKey: Short, signature: Short })
const parseAnswer = createParser(AnswerSchema, 'BAD_PARAMETER', 'answer of the new member')
const OutcomeSchema = Type.Union([
  Type.Object({ ok: Type.Literal(true), name: Type.String({ maxLength: 255 }) }),
  Type.Object({ ok: Type.Literal(false), code: ErrorCodeSchema, message: Type.String() }),
])
type Outcome = Static<typeof OutcomeSchema>
const parseOutcome = createParser(OutcomeSchema, 'BAD_PARAMETER', 'outcome of the enrolment')

interface Admission {
  /** Puts the new key on the list, durably, or says why not (TICKET_SPENT, TOO_MANY …). */
  readonly admit: (
    invitationPeerId: string,
    newPeerId: string,
  ) => Promise<{ readonly name: string } | HyperError>
  /** How long an invitation's connection lasts at the most. */
  readonly connectionMs?: number
}

export const handleEnrolment = async (
  node: CoordinatorNode,
  { admit, connectionMs = limits.enrolmentMs }: Admission,
): Promise<void> => {
  const serve = async (stream: Stream, connection: Connection): Promise<void> => {
    const frames = enrolmentStream(stream)
    const signal = AbortSignal.timeout(limits.helloMs)
    const invitation = connection.remotePeer.toString()
    let peer: string | undefined
    const outcome = await decideOutcome(node, frames, signal, (newPeerId) => {
      peer = newPeerId
      return admit(invitation, newPeerId)
    })
    if (outcome.ok) node.log.info({ invitation, peer }, 'enrolled')
    else {
      const { code, message: reason } = outcome
      node.log.warn({ invitation, peer, code, reason }, 'enrolment refused')
    }
    await frames.write(cbor.encode(outcome), { signal })
    await stream.close({ signal })
    // The other side has its answer when it ends the connection, not when we have written it.
    await frames.read({ signal }).catch(() => undefined)
    connection.abort(new HyperError('TICKET_SPENT', 'the enrolment is over'))
  }
  const begun = new WeakSet<Connection>()
  node.libp2p.addEventListener('connection:open', ({ detail: connection }) => {
    const invitation = connection.remotePeer.toString()
    // Also one whose last use was spent since the gate let it in.
    if (node.isMember(invitation)) return
    endInTime(connection, connectionMs)
    // Such as one of another version, which finds no protocol of its own here.
    const onClose = (): void => {
      if (!begun.has(connection))
        node.log.info({ invitation }, 'an invitation left, nobody enrolled')
    }
    connection.addEventListener('close', onClose, { once: true })
  })
  await node.libp2p.handle(
    ENROL_PROTOCOL,
    (stream, connection) => {
      if (!node.isInvitation(connection.remotePeer.toString())) {
        return connection.abort(new HyperError('TICKET_SPENT', 'not an invitation'))
      }
      begun.add(connection)
      serve(stream, connection).catch((error) => {
        node.log.info({ err: error }, 'enrolment broke off')
        connection.abort(error instanceof Error ? error : new Error(messageOf(error)))
      })
    },
    { maxInboundStreams: 1 },
  )
}

/** A leaked ticket must not hold connections open. */
const endInTime = (connection: Connection, connectionMs: number): void => {
  const timer = setTimeout(() => {
    connection.abort(new HyperError('TICKET_SPENT', 'the time for enrolling is over'))
  }, connectionMs)
  timer.unref()
  connection.addEventListener('close', () => clearTimeout(timer), { once: true })
}

/** What goes wrong before the answer is in breaks off; after it, the other side is told. */
const decideOutcome = async (
  node: CoordinatorNode,
  frames: LengthPrefixedStream,
  signal: AbortSignal,
  admit: (newPeerId: string) => ReturnType<Admission['admit']>,
): Promise<Outcome> => {
  const nonce = randomBytes(nonceBytes)
  await frames.write(cbor.encode({ nonce }), { signal })
  const answer = parseAnswer(cbor.decode((await frames.read({ signal })).subarray()))
  const newPeerId = await verify(answer, nonce, node.peerId)
  if (newPeerId === null) {
    return { ok: false, code: 'BAD_PARAMETER', message: 'the new key’s signature is wrong' }
  }
  const admitted = await admit(newPeerId).catch((error: unknown) => {
    node.log.error({ err: error }, 'enrolment failed')
    return toHyperError(error)
  })
  return admitted instanceof HyperError
    ? { ok: false, code: admitted.code, message: admitted.message }
    : { ok: true, name: admitted.name }
}

/** The peer id of the key that signed, or null. */
const verify = async (
  { publicKey, signature }: Static<typeof AnswerSchema>,
  nonce: Uint8Array,
  coordinator: string,
): Promise<string | null> => {
  try {
    const key = publicKeyFromProtobuf(publicKey)
    if (key.type !== 'Ed25519') return null
    const isSigned = await key.verify(signedBytes(nonce, coordinator), signature)
    return isSigned ? peerIdFromPublicKey(key).toString() : null
  } catch {
    return null
  }
}

interface EnrolOptions {
  readonly ticket: Ticket
  /** The key to be enrolled. */
  readonly key: PrivateKey
  readonly log: Log
  readonly signal?: AbortSignal
}

/**
 * Rejects with TICKET_SPENT, TICKET_EXPIRED, UNREACHABLE, WRONG_COORDINATOR, VERSION_MISMATCH, or
 * what the coordinator answered.
 */
export const enrol = async (options: EnrolOptions): Promise<{ name: string }> => {
  const { ticket, log } = options
  const { coordinator, addresses } = ticket
  const invitation = await invitationKey(ticket.invitation)
  const dialler = await startDialler({ key: invitation, coordinator, addresses, log })
  try {
    return await enrolOver(dialler, options)
  } finally {
    await dialler.stop()
  }
}

const enrolOver = async (dialler: Dialler, options: EnrolOptions): Promise<{ name: string }> => {
  const { stream } = await openProtocol(dialler, {
    protocol: ENROL_PROTOCOL,
    refusal: refusalOf(options.ticket, Date.now()),
    signal: options.signal,
  })
  const frames = enrolmentStream(stream)
  const timeout = AbortSignal.timeout(limits.helloMs)
  const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout])
  const outcome = await converse(frames, options, signal).catch((error: unknown) => {
    if (error instanceof HyperError) throw error
    const message = `the coordinator broke off the enrolment: ${messageOf(error)}`
    throw new HyperError('UNREACHABLE', message, { cause: error })
  })
  if (!outcome.ok) throw new HyperError(outcome.code, outcome.message)
  return { name: outcome.name }
}

/**
 * Who holds a dead invitation gets no further than the handshake, so it is not told why. What the
 * ticket says of its time is told with the time here: one of the clocks may be wrong.
 */
const refusalOf = ({ expires }: Ticket, nowMs: number): Refusal => {
  const [end, now] = [new Date(expires), new Date(nowMs)].map((date) => date.toISOString())
  return expires <= nowMs
    ? {
        code: 'TICKET_EXPIRED',
        message: `the ticket has expired: the coordinator refuses it, and it held until ${end} (here it is ${now})`,
      }
    : {
        code: 'TICKET_SPENT',
        message: `the ticket is spent, or not known to the coordinator any more; by its date it holds until ${end} (here it is ${now})`,
      }
}

const converse = async (
  frames: LengthPrefixedStream,
  { key, ticket }: EnrolOptions,
  signal: AbortSignal,
): Promise<Outcome> => {
  const { nonce } = parseChallenge(cbor.decode((await frames.read({ signal })).subarray()))
  const signature = await key.sign(signedBytes(nonce, ticket.coordinator))
  const publicKey = publicKeyToProtobuf(key.publicKey)
  await frames.write(cbor.encode({ publicKey, signature }), { signal })
  return parseOutcome(cbor.decode((await frames.read({ signal })).subarray()))
}

/** Named after the protocol, so that the signature is of use nowhere else. */
const signedBytes = (nonce: Uint8Array, coordinator: string): Uint8Array =>
  cbor.encode([ENROL_PROTOCOL, nonce, coordinator])

const enrolmentStream = (stream: Stream): LengthPrefixedStream =>
  lpStream(stream, {
    maxDataLength: limits.enrolmentBytesMax,
    maxBufferSize: 2 * limits.enrolmentBytesMax,
  })
