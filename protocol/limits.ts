/**
 * Every bound in the system: its number, its unit (last in the name) and the reason for it.
 * Nothing else in the code writes such a number down.
 */

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB
const second = 1000
const minute = 60 * second
const hour = 60 * minute

export const limits = {
  // ── Calls, as the original service promised them ────────────────────────────────────────────
  /** STDIN of one call. The original's bound. */
  payloadBytesMax: MiB,
  /** STDOUT of one call; more is answered 509. The original's bound. */
  stdoutBytesMax: MiB,
  /** STDERR kept of one call: enough for a stack trace, small enough to travel with every result. */
  stderrBytesMax: 64 * KiB,
  /** What logs show of STDIN, STDOUT and STDERR. The original's bound. */
  shortBytesMax: 255,
  /** How much of STDERR a failed call's answer quotes. */
  failureQuoteBytesMax: 4 * KiB,
  /** Cache of outputs of one function, and cache of its logs. The original's bound. */
  cacheBytesMax: 50 * MiB,
  /** What an entry of a cache counts at the least, so that empty ones cannot pile up. */
  cacheEntryBytesMin: KiB,
  /** How long a delivered output can be fetched again, for a client that broke at the last byte. */
  deliveredGraceMs: minute,
  /** History rows of one function. */
  historyRowsMax: 10_000,
  /** One history row: counts, listings and the dashboard read many of them. */
  historyRowBytesMax: KiB,
  /** Of a message in a history row, as JSON: keeps the row in its bound; the output has the whole text. */
  historyMessageBytesMax: 600,
  /** How long a history row outlives its output. */
  historyMs: 24 * hour,
  /** Calls a listing returns at the most. */
  listCallsMax: 1000,

  // ── Functions ──────────────────────────────────────────────────────────────────────────────
  funcNameCharsMax: 255,
  timeoutSecondsDefault: 300,
  timeoutSecondsMax: 86_400,
  maxAttemptsDefault: 3,
  maxAttemptsMax: 100,
  retryOnExitMax: 100,
  queueTimeoutSecondsDefault: 86_400,
  queueTimeoutSecondsMax: 7 * 86_400,
  /** Whole environment of one call; above it the kernel's own refusal would look like the function's. */
  environmentBytesMax: 64 * KiB,
  /** All request headers together (Node's own bound, too). */
  headerBytesMax: 16 * KiB,
  /** Arguments of a function's command, all together. */
  commandBytesMax: 64 * KiB,
  /** Functions of one account: keeps every listing one page of memory. */
  functionsPerAccountMax: 10_000,
  /** Image records of one account; functions keep their own. */
  imagesPerAccountMax: 1000,
  /** A management request's JSON. A function is its environment and command, and little more. */
  managementBodyBytesMax: 256 * KiB,

  // ── Queue and quota ────────────────────────────────────────────────────────────────────────
  quotaDefault: 10,
  quotaMax: 1_000_000,
  /** Calls of one account that wait: bounds memory and disk; over it callers get 429. */
  queuedCallsMax: 1_000_000,
  /** Payload bytes of one account's calls that are not final: each is kept for another attempt. */
  livePayloadBytesMax: 4 * GiB,
  /**
   * Calls that a removal of their function, or a restore, ends in one step, and rows of caches that go in one:
   * some ten operations each, so that others’ commits wait for some 2,000 of them, not for a million.
   */
  removedPerStepMax: 200,
  /**
   * The time that a queue timeout counts is written when it has grown by so much, and by such a part
   * of what is written: a restart forgets no more, and a wait of a day costs some eighty writes.
   */
  waitedStepMsMin: minute,
  waitedStepRatio: 0.1,
  /** How long platform failures of a call are retried before it fails. */
  platformRetryMs: 5 * minute,
  /** Back-off of platform failures: first pause, doubled each time up to the second number. */
  retryPauseMsMin: 250,
  retryPauseMsMax: 30 * second,

  /** Why a call waits, in one line. */
  reasonCharsMax: 300,
  /** A head that waited so long is looked at for the reason, and the log told … */
  reasonAfterMs: second,
  /** … and again after so long, or a part of what it has waited; the log is told of another reason … */
  reasonAgainMsMin: 30 * second,
  reasonAgainRatio: 0.1,
  /** … by a look at every agent: so many heads in a tick. */
  reasonsPerTickMax: 4,
  /** So many of a function's oldest calls are looked at for one that waits: those before it run. */
  reasonSearchMax: 1000,

  /** A head that waited so long for room reserves it … */
  reserveAfterMs: 30 * second,
  /** … on one agent for so long, then on another. */
  reservationMs: 10 * minute,
  /** Choosing that agent is a look at all leases of all agents: so many heads get theirs in a tick. */
  reservationsPerTickMax: 4,

  // ── Leases (see The lease, not the connection in ARCHITECTURE.md) ────────────────────────
  leaseMsMin: 15 * second,
  leaseMsMax: 10 * minute,
  /** A lease counts as lost this much later than its length, in parts and flat. */
  leaseMarginRatio: 0.1,
  leaseMarginMs: 5 * second,
  /**
   * How far ahead of ours an epoch can be that an agent tells of: a hundred years of seconds, for
   * clocks that were wrong. Small enough that no member can use up the numbers.
   */
  epochAheadMax: 100 * 365 * 86_400,
  /** So far above all others is a raised epoch: ten years of a clock’s seconds, or of restarts. */
  raisedEpochGap: 10 * 365 * 86_400,
  /** How long an at-most-once call waits for its agent after its lease was lost. */
  lostAfterMs: 10 * minute,
  heartbeatBusyMs: second,
  heartbeatIdleMs: 5 * second,
  /** Of an agent in a second: heartbeats of most hosts are far smaller, so results are among it. */
  bulkBytesMin: 64 * KiB,
  /**
   * An agent that holds attempts is suspect, and is offered nothing new, after two heartbeats that
   * did not come and a margin: with the next look at the clocks it is seen within 3 s.
   */
  suspectBusyMs: 2.5 * second,
  /** The same of one that holds none. */
  suspectIdleMs: 12 * second,
  /** A silent agent's connection is closed after this. Longer than any pause a healthy one takes. */
  heartbeatSilenceMs: 20 * second,

  // ── Agent ──────────────────────────────────────────────────────────────────────────────────
  slotsPerCore: 4,
  slotsMax: 10_000,
  /** Share of the host's memory an agent gives to calls unless told otherwise: people's machines. */
  memoryShareDefault: 0.75,
  /** Stop signal, this long, then kill. */
  stopGraceMs: 10 * second,
  /** The agent ends a container itself only this long after hyper-init should have. */
  timeoutMarginMs: 15 * second,
  /** How long the log of a container that ended is asked for while the engine refuses it. */
  readBackMs: 5 * minute,
  /** Create and start of one container; an engine slower than this has failed the attempt. */
  startMsMax: 60 * second,
  /** One run of iptables; it waits for its lock, and a hung one must end. */
  firewallMsMax: 20 * second,
  /** Its listing of all rules: a host with thousands of them has some 100 KiB. */
  firewallOutputCharsMax: MiB,
  /** Between two sweeps: so long can a container stay that the engine made for an agent that died. */
  sweepMs: 5 * minute,
  /** Containers that one agent keeps ready at the most: bursts above it are rare, and each is a process. */
  readyMax: 128,
  /** … and this share of the memory given to calls. */
  readyMemoryShare: 0.05,
  /** What one takes while it waits (measured: 4.5 MB; in a sandbox with a kernel of its own 12 MB). */
  readyBytes: 5 * MiB,
  readySandboxBytes: 16 * MiB,
  /** So many more than the highest demand that was seen. */
  readySpareRatio: 1.25,
  /** Demand is remembered for one to two of these: so none stands ready for much longer, either. */
  demandGenerationMs: 5 * minute,
  /** How often too many and forgotten ones are looked for. */
  readyTidyMs: 5 * second,
  /** Kinds of containers an agent keeps account of; far more than can stand ready. */
  readyKindsMax: 512,
  /** The name of a kind: a hash as text, and room for a longer one. */
  readyKeyCharsMax: 64,
  /** Kinds named in an advert. */
  advertReadyMax: 128,
  /** A kind whose containers do not start is tried again after this, doubled up to the second. */
  refillPauseMsMin: second,
  refillPauseMsMax: 2 * minute,
  /** Starts and removals that can wait do so until no call began, got in or ended for this long … */
  lullMs: 100,
  /** … or they have waited this long. */
  lullPatienceMs: second,
  /** A container that has told all and was let go is ended by force after this. */
  releaseMsMax: second,
  /** What a keeper is told in one order, as the zygote reads it: cgroups, an image's layers and
   * volumes, a runtime's words. */
  keeperWordsMax: 250,
  keeperWordsBytesMax: 64 * KiB,
  /** A keeper that was not forked within this does not come: the fork itself takes milliseconds. */
  keeperForkMs: 10 * second,
  /** An older zygote is replaced, so that a runtime that was updated is used from then on. */
  zygoteMsMax: 10 * minute,
  /** Processes that were killed are gone within this, and a cgroup is no longer busy … */
  cgroupGoneMs: 10 * second,
  /** … which is looked at with pauses of this. */
  cgroupPauseMs: 10,
  /** Removals side by side: more only make each other, and the calls, wait. */
  removalsMax: 4,
  /** Processes of one function container, hyper-init among them. */
  pidsMax: 128,
  openFilesSoft: 1024,
  openFilesHard: 4096,
  /** /tmp of a strict function, in memory: counts as the call's own memory, so this only caps it. */
  strictTmpBytesMax: 64 * MiB,
  /** An image’s /etc/passwd or /etc/group, read into memory: many thousands of lines. */
  usersFileBytesMax: MiB,
  /** Command and environment in the frame for hyper-init: above the bounds of both together. */
  frameBodyBytesMax: 2 * MiB,
  /** The dead man's switch is turned this often; hyper-init gives up after 10 min without a turn. */
  switchTurnMs: 5 * second,
  /** Log of one container at the engine, or of each of its streams at its keeper: all of it with frames. */
  containerLogBytesMax: 4 * MiB,
  /** Results not yet acknowledged; above it an agent takes no new calls. */
  outboxResultsMax: 10_000,
  /** Names of ended attempts that an agent remembers: far more than can be on their way to it. */
  pastAttemptsMax: 1000,
  /** One line for people in a result. */
  resultMessageCharsMax: 4096,
  /** What such a line quotes of a command, and of the engine's words. */
  commandQuoteCharsMax: 200,
  engineQuoteCharsMax: 1000,
  /** Pulls of images side by side. */
  pullsMax: 3,
  /** Pulls that a coordinator ordered and that have not ended, those that wait included. */
  pullOrdersMax: 100,
  /** One line of the engine's progress; its own are far shorter. One without an end is given up. */
  pullLineCharsMax: 4096,
  pullUnendedCharsMax: 256 * KiB,
  /** Lines of one pull on their way at once; above it further ones are left out. */
  pullLinesMax: 64,
  /** Platforms of one image; the official ones have about ten. */
  imagePlatformsMax: 64,
  /** Registries whose credentials are kept for one account, the last given ones: all in one row. */
  registriesPerAccountMax: 16,
  /** An agent waits so long for the credentials of a pull. */
  registryAuthMs: 10 * second,
  /** Images that an agent is known not to get; above it the first of them is tried there again. */
  exclusionsPerAgentMax: 1000,
  /** Value of X-Registry-Auth: a token of several KB in base64 fits. */
  registryAuthCharsMax: 16 * KiB,
  /** One pull. Large images on slow lines take long; a hung registry must end nevertheless. */
  pullMsMax: hour,
  /** An agent that says nothing of a pull for longer than one takes is not waited for. */
  pullSilenceMs: hour + 5 * minute,
  /** How long a stopping daemon lets running calls end. */
  drainMs: 30 * second,
  /** An engine that does not answer this long is taken for absent. */
  engineAnswerMs: 10 * second,
  /** Pause before an act that must succeed (disk, engine) is tried again. */
  insistPauseMs: second / 2,
  enginePauseMsMin: 500,
  enginePauseMsMax: 15 * second,

  // ── Agent's disk: the one that its engine keeps containers and images on. Each mark is a number of
  // bytes, or a share of a small disk if that is less (see agent/disk-marks.ts) ────────────────
  /** Floor: with less free no call is taken. What runs must still end, and the host must live. */
  hostFreeBytesMin: GiB,
  hostFreeShareMin: 0.05,
  /**
   * With less free a function that fills the disk is looked for: above the floor by what one that
   * writes a GB/s writes in the two seconds that finding and ending it may take.
   */
  hostDangerBytes: 3 * GiB,
  hostDangerShare: 0.15,
  /** What an attempt may have written to its container when the disk is in danger. */
  rootfsBytesMax: 512 * MiB,
  rootfsShareMax: 0.1,
  /** Looks come sooner, down to this, where such a writer could reach the danger before the next. */
  hostLookMsMin: second / 10,
  writerBytesPerSecond: GiB,
  /** A search that found nobody is made again after this, as it costs a walk through their files … */
  writerSearchMs: 10 * second,
  /** … or when so much less is free: a part of what the largest may have written. */
  writerSearchShare: 0.25,
  /** With less free, pulled images that were not used of late are removed … */
  imagesEvictBytes: 8 * GiB,
  imagesEvictShare: 0.2,
  /** … until so much is free. */
  imagesKeepBytes: 12 * GiB,
  imagesKeepShare: 0.3,
  /** How often it is looked whether images must go. */
  imagesLookMs: 15 * second,
  /** Not of late: else a full disk would have an image pulled anew for every call. */
  imagesIdleMsMin: 10 * minute,
  /** The time of an image's last use is written when it has grown by so much. */
  imagesUsedStepMs: 10 * minute,
  /** Images that an agent knows to have pulled; those above it are left to the host's owner. */
  pulledImagesMax: 10_000,

  // ── Mesh ───────────────────────────────────────────────────────────────────────────────────
  /** One frame: payload, environment and a margin. Stays under the stream's own 4 MiB buffer. */
  messageBytesMax: 3 * MiB,
  /** Bytes of assignments that wait for one agent's channel; above it the agent gets no more calls. */
  channelBytesMax: 8 * MiB,
  /**
   * With more than this unsent a stream is given nothing further, as what it has cannot be overtaken.
   * Enough for the line never to run dry.
   */
  streamUnsentBytesMax: 64 * KiB,
  /** What a stream is given at once: on a line of 64 KiB/s the other side sees it come every second. */
  streamPieceBytes: 64 * KiB,
  /** Messages that wait on one channel; more than one order for each slot of the largest agent. */
  channelWaitingMax: 20_000,
  /** Small messages are written together up to this: one frame of the encryption holds no more. */
  channelBatchBytesMax: 64 * KiB,
  /** Messages received but not taken; above it the stream is paused, which slows the sender down. */
  channelInboxBytesMax: MiB,
  /** Results of one agent that wait for their commit; above it the agent is not heard further. */
  unsettledBytesMax: 4 * MiB,
  /** What a paused stream may still receive: under its buffer of 4 MiB, past which it is reset. */
  streamWindowBytesMax: 2 * MiB,
  /** Bytes read that the sender is not yet told of, all streams together: a quarter of the least window. */
  windowHeldBytesMax: 64 * KiB,
  /** … and so many such tellings, of a dozen bytes each. */
  windowHeldFramesMax: 64,
  /** Frames of a muxer are copied into one piece up to this: one record of the encryption. */
  gatheredBytesMax: 16 * KiB,
  /** A closing channel waits this long for the other side's end; a frozen one must not hold us up. */
  channelCloseMs: 2 * second,
  /** Enrolment and hello messages are small; a stranger gets no more buffer than this. */
  enrolmentBytesMax: 16 * KiB,
  /** An invitation's whole connection. */
  enrolmentMs: 30 * second,
  /** Longest wait for one answer of the other side (hello, enrolment). */
  helloMs: 10 * second,
  /** Until a connection is of use, with the wait for its handshake's turn, at both ends. */
  dialMs: 20 * second,
  /** Of one coordinator: those of a ticket, and those that it told. */
  knownAddressesMax: 64,
  /**
   * Until a TCP connection stands: on a slow line, and where a host has come back a moment ago. The
   * kernel asks again after 1 s, then after 2 s more, which is too long for a coordinator that returns.
   */
  connectMs: 1.2 * second,
  /** The same where a name must be looked up first: of two name servers the first may not answer. */
  connectNameMs: 4 * second,
  /**
   * From then on until the other side's key is proven: the coordinator shakes a few hands at a time, and
   * each that comes again meanwhile costs it a third of a handshake.
   */
  handshakeMs: 15 * second,
  /** One that failed is dialled again after this, while others have neither answered nor failed. */
  addressRedialMs: second / 2,
  /** So long is the best address dialled alone: a handshake on most lines, and no long wait. */
  headStartMs: 200,
  /** Where no known address answers within this, or all of them failed, the LAN is asked. */
  findAfterMs: second,
  /** One search on the LAN … */
  lanSearchMs: 2 * second,
  /** … in which is asked at once, and again after each of these: wireless networks lose multicasts. */
  lanAskMs: second / 2,
  /** Searches that found nothing: first pause, doubled each time up to the second number. */
  lanPauseMsMin: 2 * second,
  lanPauseMsMax: 30 * second,
  /** Answers taken in one search: anybody on the LAN can send some. */
  lanAnswersMax: 8,
  /** The coordinator answers at most this often on one network: all who ask hear it. */
  lanAnswerPauseMs: 200,
  /** How often it is looked for networks that came or went. */
  lanLookMs: 5 * second,
  /**
   * Pause between attempts to reach the coordinator again: anything from the one to the other, so
   * that agents which lost it together do not come back together. An agent is back within 1.5 s.
   */
  redialMsMin: 250,
  redialMsMax: 750,
  /** The same after an answer that sent us away, at the most: it doubles up to this. */
  refusedMsMax: 10 * second,
  /** What is said again and again while the coordinator is away is logged this often. */
  absenceLogMs: minute,
  connectionsMax: 5000,
  /**
   * Memory of the coordinator, which is with a thousand agents where others are: V8 lets garbage of 48 MB
   * and more pile up before it looks at what is young, and half as much again of what lives; and the C
   * library keeps freed memory apart for each of eight threads a core. A third of all, measured.
   */
  coordinatorYoungMiB: 4,
  coordinatorGarbagePercent: 25,
  coordinatorArenas: 2,
  /** Connections that have not shown their key yet: all agents return at once after a restart … */
  connectionsPendingMax: 4000,
  /** … and those of them that wait for their turn, with what they may have sent by then: a few words. */
  handshakesWaitingMax: 3000,
  handshakeWaitingBytesMax: 16 * KiB,
  /** Handshakes that an address may have failed: at once, and so many a second. Each takes 10 ms of a core. */
  handshakesBurstMax: 100,
  handshakesPerSecondMax: 8,
  /**
   * Under way at a time, and how long one counts as that: more at once would only end later, many of
   * them too late for who waits; and one that says nothing must not hold up the others.
   */
  handshakesAtOnceMax: 8,
  handshakeTurnMs: second / 4,
  /** It must be over so long after its turn came: those who wait have longer. */
  handshakeMsMax: 5 * second,
  /** Addresses that are remembered for it, of strangers as well. */
  handshakeAddressesMax: 10_000,
  /** Connections of one member: a new one, and those that broke and are not yet known to have. */
  memberConnectionsMax: 4,
  /** How often a member connects at the most: one that is thrown out again and again waits for seconds. */
  memberConnectsBurstMax: 40,
  memberConnectsPerSecondMax: 2,
  /** Streams that the other side has open on one connection; over the second it is cut off: it needs five. */
  streamsMax: 64,
  memberStreamsMax: 16,
  /** Those that it opens one after the other: it needs five, once. */
  memberStreamsBurstMax: 32,
  memberStreamsPerSecondMax: 1,
  /** How often connections are looked at for that. */
  connectionsLookMs: second,
  /** Heartbeats, and adverts, of one member: an agent sends one heartbeat and two adverts a second. */
  memberWordsBurstMax: 30,
  memberWordsPerSecondMax: 4,
  /** Frames of gossip of one member: two adverts a second, and what gossipsub says itself. */
  memberGossipBurstMax: 100,
  memberGossipPerSecondMax: 10,
  /**
   * All messages of one member; over it the channel is slowed down. At once for a full outbox after a
   * reconnection, and after it for more than a large host can start and end in a second.
   */
  memberMessagesBurstMax: 12_000,
  memberMessagesPerSecondMax: 4000,
  /** A channel that is slowed down is read on after this. */
  memberPauseMs: 50,
  /** A member that was not heard by gossip for four adverts is cut off, so that it comes anew. */
  advertSilenceMs: minute,
  /** What a member that broke the protocol is kept off for: doubled each time, up to the second. */
  keptOffMsMin: 5 * second,
  keptOffMsMax: 10 * minute,
  /** After so long without another it starts anew. */
  offenceMs: 30 * minute,
  /** All that an advert can name, and a quarter more. */
  advertBytesMax: 96 * KiB,
  /** One gossip frame. A longer one silences its sender for good, so this is generous. */
  gossipFrameBytesMax: 256 * KiB,
  /** Of each kind of gossipsub's own words in a frame; there is one topic, and nobody else to tell of. */
  gossipItemsMax: 16,
  /** What strangers and damaged adverts can make us log: one line of a kind in this time. */
  dropLogMs: 10 * second,
  /** A ticket that is made: people copy it, and chats and terminals break longer lines. */
  ticketCharsMax: 250,
  /**
   * One that is read, with its line breaks; longer text is not even decoded. Version 1 had dozens of
   * addresses, and what later versions write is to be told as of a later version, not as damaged.
   */
  ticketTextCharsMax: 8 * KiB,
  ticketAddressesMax: 32,
  /** One multiaddr: the longest name that DNS allows, and its protocols around it. */
  addressCharsMax: 320,
  /** Advertisements are sent on change, at most this often … */
  advertPauseMs: 500,
  /** … and as a heartbeat this often, or sooner by up to this part. */
  advertMs: 15 * second,
  advertJitterRatio: 0.25,
  /** Items of one dag-cbor value that is read: ten in each attempt of the longest hello … */
  messageItemsMax: 400_000,
  /** … which names as many as one agent can hold, and as many results as its outbox takes then. */
  attemptsNamedMax: 20_000,
  /** A line for people in a message: engines say a lot, and the frame has room. */
  lineCharsMax: 64 * KiB,
  /** Runtimes of an engine that an agent tells of, and the name of one. */
  runtimesMax: 100,
  runtimeCharsMax: 255,
  /** Why an agent’s containers are started as they are: a line of `hyper agents --json`. */
  runnerReasonCharsMax: 200,
  /** Versions, ids and platforms that agent and coordinator tell each other. */
  agentWordCharsMax: 64,
  /** A host's name: the longest that DNS allows. */
  hostCharsMax: 255,
  /** `sha256:` and 64 digits, and room for a longer hash. */
  imageKeyCharsMax: 128,
  /** Images named in an advertisement. */
  advertImagesMax: 500,
  /** Labels of one agent that it says of itself, and of one invitation; a name or value of one. */
  labelsMax: 64,
  labelCharsMax: 256,
  inviteUsesMax: 1000,
  inviteMsDefault: hour,
  inviteMsMax: 30 * 24 * hour,
  /**
   * A ticket that is spent or has expired is known so long after its time, and so many of them, so that
   * the log says what is wrong with it, and not that a stranger came.
   */
  inviteKeptMs: 7 * 24 * hour,
  invitesKeptMax: 1000,
  membersMax: 5000,
  /** Those that left or were removed are shown in `hyper agents` for a week, the newest of them. */
  formerMembersMax: 1000,
  formerMemberMs: 7 * 24 * hour,

  // ── Bodies in memory ───────────────────────────────────────────────────────────────────────
  /**
   * Inputs kept at hand for their assignment, in memory and in number (an empty one costs memory,
   * too); the others are read from the store.
   */
  inputsBytesMax: 128 * MiB,
  inputsMax: 20_000,
  /** Of one account's waiting calls, those that run soonest: a backlog gains nothing by waiting here. */
  inputsAheadMax: 2_000,
  /** Bodies on their way to synchronous clients; over it they go by way of the cache. */
  owedBytesMax: 128 * MiB,
  /** Bodies of synchronous calls kept for their grace; the oldest go first. */
  recentBytesMax: 64 * MiB,
  /** How often history rows are looked at for their age. */
  historySweepMs: minute,

  // ── Store (see The store on disk in ARCHITECTURE.md) ─────────────────────────────────────────
  /**
   * Larger bodies are files: LevelDB's compactions would copy them again and again. Of bodies of 2 to
   * 128 KB, 4 / 16 / 64 KB took 32 / 37 / 41 MB/s and wrote 1.08 / 1.14 / 1.51 bytes for each in
   * 1.5 s, more the longer it lasts; what small commits beside them wait hardly differs.
   */
  inlineBodyBytesMax: 16 * KiB,
  /** Files written side by side: as many as Node has threads for it. */
  filesAtOnceMax: 4,
  /** Rows of one read, and about their bytes: memory of a scan, and the time one read may take. */
  pageRowsMax: 1000,
  pageBytesMax: MiB,
  /** Blocks of LevelDB's tables that a start reads together: few reads, and little memory. */
  tablePartBytes: 256 * KiB,
  /** Index of one table of LevelDB: a hundredth of it, and a table is as large as its largest batch. */
  tableIndexBytesMax: 64 * MiB,
  /** What is wrong with a damaged disk, named in one line of a log. */
  lossesNamedMax: 20,
  /** Deleted rows that a reader steps over at the most: about 10 ms. */
  tombstonesMax: 100_000,
  /** Places in which they are counted, most of them functions' logs; over it counting starts anew. */
  tombstonePlacesMax: 50_000,
  /** Asked of a full disk before the database is opened again on it, which takes about its log. */
  probeBytes: 8 * MiB,
  /** After a write error: pauses before the disk is tried again. */
  reopenPauseMsMin: 100,
  reopenPauseMsMax: 5 * second,
  /** A disk that is not full, yet cannot be opened for this long, has failed: the process ends. */
  reopenMs: 5 * minute,

  /**
   * Free space of the state folder's disk below which nothing new is taken: what runs must still end
   * (outputs of a full quota, a compaction of LevelDB), and what rotates must still go.
   */
  diskFreeBytesMin: 256 * MiB,
  /** … or this share of a small disk: a reserve must not be most of it. */
  diskFreeShareMin: 0.1,
  /** How often the disk's free space is looked at. */
  diskLookMs: second,

  // ── Backups ────────────────────────────────────────────────────────────────────────────────
  /** One frame: a page of rows, or one body with its key. */
  backupFrameBytesMax: 32 * MiB,
  /** A backup keeps deleted rows and files on the disk; a reader slower than this is given up. */
  backupMs: 15 * minute,

  // ── Coordinator ────────────────────────────────────────────────────────────────────────────
  /** Bytes of one synced batch: bounds the longest pause a commit causes. */
  commitBytesMax: 8 * MiB,
  /** A timer of Node overflows at 24.8 days; longer waits are taken in steps of this. */
  timerMsMax: 2 ** 31 - 1,
  /** The ledger looks at its clocks this often. */
  tickMs: second / 4,
  /** A daemon's parent sends the configuration at once; one without a parent must not linger. */
  configureMs: 10 * second,
  /** Signals within this are one wish: a terminal's Ctrl-C can come again by the parent. */
  secondSignalMs: second,
  /** Slow senders of headers and bodies are cut off. */
  headersMs: 10 * second,
  requestMs: 2 * minute,
  /** Bytes that wait for a slow reader of logs; above it its stream is closed, `since` resumes it. */
  logFollowBytesMax: MiB,
  /** … unless the reader catches up within this. */
  logStallMs: 30 * second,
  /** Logs followed at once, each with so many bytes waiting at the most. */
  logFollowersMax: 1000,
  /** First buffer of a body whose length grows as it comes: most payloads fit, and it costs little. */
  bodyBufferBytesMin: 16 * KiB,
  /** Bodies that the gateway holds, of all requests and answers together; over it 503. */
  bytesInFlightMax: 256 * MiB,
  /** Connections of clients, many of them waiting for hours. */
  gatewayConnectionsMax: 10_000,
  /** Requests sent on one connection before their answers; no client that means well has so many. */
  pipelinedRequestsMax: 100,
  /** The gateway looks for slow senders this often. */
  slowSenderCheckMs: second,
  /** An unused connection is kept this long; longer than the minute of most proxies. */
  connectionIdleMs: 72 * second,
  /** TCP probes of silent connections: finds clients that vanished during a wait of hours. */
  connectionProbeMs: minute,
  /** A reader of an answer that takes no byte for this long is cut off. */
  answerStallMs: 2 * minute,
  /** A refused body is still read away this long: a reset would destroy the answer on its way. */
  lingerMs: 5 * second,
  /** Between the head of a 101 and the first line: the original client drops what comes with it. */
  upgradePauseMs: 50,
  /** How long a stopping gateway lets running answers end, and then how long it lets them flush. */
  gatewayCloseMs: 5 * second,
  gatewayFlushMs: second,
  /** Value of Retry-After. */
  retryAfterSeconds: 2,
  /** A signed request holds this long around its date: clocks differ, and it can be sent again. */
  signatureMs: 5 * minute,
  /** An account's token, key and secret, in random bytes. */
  tokenBytes: 32,

  // ── Client and CLI ─────────────────────────────────────────────────────────────────────────
  /** From a request to its open connection; what waits after it has no bound of ours. */
  clientConnectMs: 10 * second,
  /** Answer of a short management request. Calls, pulls and creations wait as long as it takes. */
  clientAnswerMs: minute,
  /** TCP keep-alive of waits: shorter than the usual NAT forgets (5 min), so that a cut is noticed. */
  clientKeepAliveMs: 30 * second,
  /** JSON of one answer: a full listing of functions, and far below what a process can hold. */
  clientAnswerBytesMax: 64 * MiB,
  /** What is quoted of an answer that no coordinator gave: it may be a page. */
  foreignAnswerCharsMax: 200,
  /** One line of a log or of a pull's progress. */
  clientLineBytesMax: MiB,
  /** How long a followed log is looked for again after its connection broke. */
  followResumeMs: minute,
  followPauseMs: second,
  /** Back-off of `hyper up` when a daemon of its own died; served this long, it starts anew. */
  restartPauseMsMin: 200,
  restartPauseMsMax: 5 * second,
  restartForgetMs: 30 * second,
  /** A daemon that was told to stop is killed this long after its drain should have ended. */
  stopMarginMs: 30 * second,
  /** `hyper up` waits this long for an agent before it says that there is no `hello` yet. */
  firstAgentMs: 30 * second,
  /** Agents that `hyper up` starts on one machine. */
  agentsMax: 64,
  /** `hyper doctor` waits this long for each address of the mesh. */
  doctorConnectMs: 5 * second,
  /** A token that is read from a terminal or from STDIN. */
  tokenCharsMax: 4096,

  // ── Set-up ─────────────────────────────────────────────────────────────────────────────────
  /** From the engine's start to its first answer; a first start on a slow disk takes long. */
  engineStartMs: minute,
  /** One run of apt-get: a download over a slow line, and other runs that hold its lock. */
  packagesMs: 15 * minute,
  /** What is kept of a quiet program's output, to be shown when it fails. */
  setupOutputCharsMax: 4000,
} as const
