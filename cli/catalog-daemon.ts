/** The commands that run daemons: words and help (see catalog.ts). */

import type { CommandSpec, OptionSpec } from './catalog.ts'

const DRAIN: OptionSpec = {
  flags: '--drain-timeout <time>',
  description: 'How long running calls may end when it stops (default 30s)',
}

const COORDINATOR: readonly OptionSpec[] = [
  { flags: '--listen <host:port>', description: 'Gateway (HYPER_LISTEN; 127.0.0.1:7480)' },
  { flags: '--tls-cert <file>', description: 'Certificate of the gateway' },
  { flags: '--tls-key <file>', description: 'Key of the gateway' },
  { flags: '--insecure', description: 'Plain HTTP off loopback' },
  { flags: '--public-url <url>', description: 'URL in printed addresses (HYPER_PUBLIC_URL)' },
  {
    flags: '--mesh <multiaddr>',
    description: 'Where agents connect (HYPER_MESH; /ip4/0.0.0.0/tcp/7481); can be repeated',
  },
  { flags: '--announce <multiaddr>', description: 'Address to tell agents; can be repeated' },
  { flags: '--quota <n>', description: 'Calls of the default account at once (default 10)' },
  {
    flags: '--raise-epoch',
    description: 'Take the agents back from a coordinator that is no more',
  },
  { flags: '--accept-data-loss', description: 'Start without what is damaged in the state folder' },
]

const AGENT: readonly OptionSpec[] = [
  { flags: '--slots <n>', description: 'Calls at once (default 4 × cores)' },
  { flags: '--memory <size>', description: 'Memory for calls (default 75 % of the host’s)' },
  {
    flags: '--ready <n>',
    description: 'Containers kept ready at the most (default: what 5 % of the memory holds)',
  },
  { flags: '--label <k=v>', description: 'Label that functions can ask for; can be repeated' },
  {
    flags: '--runner <name>',
    description: 'Who starts containers: auto (default: oci where it can be), oci, or docker',
  },
]

const NUMBER: OptionSpec = {
  flags: '--number <n>',
  description: 'Which agent of this machine: its state is in agent-N (default 1)',
}

export const DAEMON_COMMANDS: readonly CommandSpec[] = [
  {
    words: 'up',
    args: '',
    summary: 'One machine: a coordinator and agents',
    isDaemon: true,
    options: [
      { flags: '--agents <n>', description: 'Agents to start (default 1)' },
      ...COORDINATOR,
      ...AGENT,
      DRAIN,
    ],
    examples: ['up', 'up --agents 2 --slots 4', 'up --listen 0.0.0.0:7480 --insecure'],
    load: async () => (await import('./commands/up.ts')).up,
  },
  {
    words: 'coordinator',
    args: '',
    summary: 'The coordinator: gateway, queue, store, mesh',
    isDaemon: true,
    options: [...COORDINATOR, DRAIN],
    examples: [
      'coordinator',
      'coordinator --listen 0.0.0.0:7480 --tls-cert cert.pem --tls-key key.pem',
    ],
    load: async () => (await import('./commands/daemons.ts')).runCoordinator,
  },
  {
    words: 'agent',
    args: '',
    summary: 'The agent: runs calls in this machine’s Docker engine',
    isDaemon: true,
    options: [
      {
        flags: '--join <ticket>',
        description:
          'Needed once; - reads it from STDIN, @FILE from a file, which may go afterwards',
      },
      ...AGENT,
      NUMBER,
      DRAIN,
    ],
    examples: [
      'agent --join TICKET',
      'agent --join - < ticket',
      'agent --slots 8 --memory 4g --label gpu=yes',
    ],
    load: async () => (await import('./commands/daemons.ts')).runAgent,
  },
  {
    words: 'join',
    args: '<ticket>',
    summary: 'An agent until Ctrl-C; - reads the ticket from STDIN, @FILE from a file',
    isDaemon: true,
    options: [...AGENT, NUMBER, DRAIN],
    examples: ['join TICKET', 'join - --slots 2 --memory 2g < ticket', 'join @ticket'],
    load: async () => (await import('./commands/daemons.ts')).joinMesh,
  },
]
