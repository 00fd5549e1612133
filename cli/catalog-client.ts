/** The other commands that talk to a coordinator: words and help (see catalog.ts). */

import type { CommandSpec } from './catalog.ts'

const IMAGES: readonly CommandSpec[] = [
  {
    words: 'pull',
    args: '<image>',
    summary: 'Have an agent pull an image',
    options: [],
    examples: ['pull busybox', 'pull registry.example.com/team/resizer:2'],
    load: async () => (await import('./commands/pull.ts')).pullImage,
  },
  {
    words: 'images',
    args: '',
    summary: 'List the images that are known',
    options: [],
    examples: ['images', 'images --json'],
    load: async () => (await import('./commands/pull.ts')).listImages,
  },
]

const AGENTS: readonly CommandSpec[] = [
  {
    words: 'agents',
    args: '',
    summary: 'List agents',
    options: [],
    examples: ['agents', 'agents --json'],
    load: async () => (await import('./commands/agents.ts')).listAgents,
  },
  {
    words: 'agents ls',
    args: '',
    summary: 'List agents',
    options: [],
    examples: ['agents ls', 'agents ls -q'],
    load: async () => (await import('./commands/agents.ts')).listAgents,
  },
  {
    words: 'agents drain',
    args: '<agent>',
    summary: 'Give an agent no new calls',
    options: [],
    examples: ['agents drain host-2'],
    load: async () => (await import('./commands/agents.ts')).drainAgent,
  },
  {
    words: 'agents undrain',
    args: '<agent>',
    summary: 'Give an agent calls again',
    options: [],
    examples: ['agents undrain host-2'],
    load: async () => (await import('./commands/agents.ts')).undrainAgent,
  },
  {
    words: 'agents rm',
    args: '<agent>',
    summary: 'End an agent’s membership',
    options: [],
    examples: ['agents rm host-2'],
    load: async () => (await import('./commands/agents.ts')).removeAgent,
  },
  {
    words: 'backup',
    args: '<file>',
    summary: 'Everything the coordinator has, in one file; it goes on serving',
    options: [],
    examples: ['backup hyper.backup', 'backup - | ssh host "cat > hyper.backup"'],
    load: async () => (await import('./commands/backup.ts')).backUp,
  },
  {
    words: 'restore',
    args: '<file>',
    summary: 'Make a coordinator’s state folder of a backup, where there is none',
    options: [],
    examples: ['restore hyper.backup', 'restore --json hyper.backup'],
    load: async () => (await import('./commands/backup.ts')).restore,
  },
  {
    words: 'invite',
    args: '',
    summary: 'Print a ticket with which other hosts join',
    options: [
      { flags: '--uses <n>', description: 'Hosts that can join with it (default 1)' },
      { flags: '--expires <time>', description: 'How long it holds (default 1h)' },
      {
        flags: '--label <k=v>',
        description: 'Label of the hosts that join with it, over their own; can be repeated',
      },
      {
        flags: '--lan',
        description: 'Without addresses: for hosts on the coordinator’s LAN, which find it by mDNS',
      },
    ],
    examples: [
      'invite',
      'invite --uses 10 --expires 24h',
      'invite --label zone=eu --label gpu=yes',
      'invite --lan',
      'invite -q | ssh host-2 hyper agent --join -',
    ],
    load: async () => (await import('./commands/invite.ts')).invite,
  },
]

const QUOTA = { flags: '--quota <n>', description: 'Calls that run at once' } as const

const ACCOUNTS: readonly CommandSpec[] = [
  {
    words: 'account create',
    args: '<name>',
    summary: 'Make an account; its token is shown once',
    options: [QUOTA],
    examples: ['account create team --quota 20', 'account create team --json'],
    load: async () => (await import('./commands/account.ts')).createAccount,
  },
  {
    words: 'account ls',
    args: '',
    summary: 'List accounts',
    options: [],
    examples: ['account ls', 'account ls --json'],
    load: async () => (await import('./commands/account.ts')).listAccounts,
  },
  {
    words: 'account set',
    args: '<name>',
    summary: 'Change an account’s quota (0 pauses it)',
    options: [QUOTA],
    examples: ['account set team --quota 50'],
    load: async () => (await import('./commands/account.ts')).setQuota,
  },
  {
    words: 'account rotate',
    args: '<name>',
    summary: 'Give an account a new token and keys',
    options: [],
    examples: ['account rotate team'],
    load: async () => (await import('./commands/account.ts')).rotateAccount,
  },
  {
    words: 'account rm',
    args: '<name>',
    summary: 'Remove an account that has no functions',
    options: [],
    examples: ['account rm team'],
    load: async () => (await import('./commands/account.ts')).removeAccount,
  },
]

const OWN: readonly CommandSpec[] = [
  {
    words: 'login',
    args: '<url>',
    summary: 'Store an endpoint and its token, asked for or from STDIN',
    options: [{ flags: '--context <name>', description: 'Name to keep it under (default: host)' }],
    examples: ['login https://hyper.example.com', 'login http://10.0.0.5:7480 < token.txt'],
    load: async () => (await import('./commands/login.ts')).login,
  },
  {
    words: 'context ls',
    args: '',
    summary: 'List the coordinators this machine knows',
    options: [],
    examples: ['context ls'],
    load: async () => (await import('./commands/login.ts')).listContexts,
  },
  {
    words: 'context use',
    args: '<name>',
    summary: 'Talk to this one from now on',
    options: [],
    examples: ['context use default'],
    load: async () => (await import('./commands/login.ts')).selectContext,
  },
  {
    words: 'context rm',
    args: '<name>',
    summary: 'Forget one, with its token',
    options: [],
    examples: ['context rm old'],
    load: async () => (await import('./commands/login.ts')).removeContext,
  },
  {
    words: 'info',
    args: '',
    summary: 'Coordinator, mesh, quota and queue',
    options: [],
    examples: ['info', 'info --json'],
    load: async () => (await import('./commands/info.ts')).showInfo,
  },
  {
    words: 'version',
    args: '',
    summary: 'Versions of both sides',
    options: [],
    examples: ['version', 'version --json'],
    load: async () => (await import('./commands/info.ts')).showVersion,
  },
  {
    words: 'doctor',
    args: '',
    summary: 'What this machine has and lacks to run calls, and what to do next',
    options: [],
    examples: ['doctor', 'doctor -q', 'doctor --json'],
    load: async () => (await import('./commands/doctor.ts')).runDoctor,
  },
  {
    words: 'completion',
    args: '<shell>',
    summary: 'Shell completion for bash, zsh or fish',
    options: [],
    examples: [
      'completion bash > /etc/bash_completion.d/hyper',
      'completion zsh > ~/.zfunc/_hyper',
      'completion fish > ~/.config/fish/completions/hyper.fish',
    ],
    load: async () => (await import('./commands/completion.ts')).printCompletion,
  },
]

export const CLIENT_COMMANDS: readonly CommandSpec[] = [...IMAGES, ...AGENTS, ...ACCOUNTS, ...OWN]
