/**
 * The image of deploy/container/Containerfile, built on the test engine with no network: of the package
 * as `npm pack` makes it, and of a base that has what node:24-bookworm-slim has as far as the image
 * uses it, copied from this machine.
 *
 * What needs a registry or a mirror is played by the base: its `npm` unpacks the package and puts the
 * checkout's production packages beside it, its `apt-get` finds iptables there already. So what is not
 * tried is the real npm, Debian's mirror, and Node's own image.
 */

import { chmod, cp, mkdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type Docker from 'dockerode'
import Type from 'typebox'
import { Check } from 'typebox/value'
import { findCommand } from '../../cli/setup/engine-install.ts'
import { copyInto, findFiles, findLibraries, makeBusyboxRoot } from './images.ts'
import { run } from './program.ts'

const top = fileURLToPath(new URL('../..', import.meta.url))
const BASE = 'hyper-test/node-base'

const NPM = `#!/bin/sh
set -eu
[ "$1 $2" = "install --global" ]
for package; do :; done
folder=/usr/local/lib/node_modules/hyper-func
mkdir -p "$folder"
tar -xzf "$package" -C "$folder" --strip-components 1
mv /production/node_modules "$folder/node_modules"
chmod 755 "$folder/dist/cli/main.js"
`
const APT_GET = '#!/bin/sh\nexec [ -x /usr/sbin/iptables ]\n'

const Lock = Type.Object({
  packages: Type.Record(
    Type.String(),
    Type.Object({ dev: Type.Optional(Type.Boolean()), optional: Type.Optional(Type.Boolean()) }),
  ),
})

/** Those that an install without development and optional packages would bring. */
const productionPackages = async (): Promise<readonly string[]> => {
  const lock: unknown = JSON.parse(await readFile(join(top, 'package-lock.json'), 'utf8'))
  if (!Check(Lock, lock)) throw new Error('package-lock.json is not understood')
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional }]) => !dev && !optional && path !== '')
    .map(([path]) => path)
    .filter((path) => path.lastIndexOf('node_modules/') === 0)
}

const addProgram = async (rootDir: string, command: string, target: string): Promise<void> => {
  const found = await findCommand(command)
  if (found === undefined) throw new Error(`${command} is not installed`)
  const path = await realpath(found)
  for (const library of await findLibraries([path])) await copyInto(rootDir, library)
  await mkdir(dirname(join(rootDir, target)), { recursive: true })
  // It may be one of busybox's links.
  await rm(join(rootDir, target), { force: true })
  await cp(path, join(rootDir, target))
}

const addScript = async (rootDir: string, path: string, text: string): Promise<void> => {
  await mkdir(dirname(join(rootDir, path)), { recursive: true })
  await writeFile(join(rootDir, path), text)
  await chmod(join(rootDir, path), 0o755)
}

const makeBase = async (rootDir: string): Promise<void> => {
  await makeBusyboxRoot(rootDir)
  await mkdir(join(rootDir, 'var/lib'))
  await mkdir(join(rootDir, 'usr/local/bin'), { recursive: true })
  for (const library of await findLibraries([process.execPath])) await copyInto(rootDir, library)
  await cp(process.execPath, join(rootDir, 'usr/local/bin/node'))
  // Busybox has one that knows no `-S`.
  await addProgram(rootDir, 'env', 'usr/bin/env')
  await addProgram(rootDir, 'iptables', 'usr/sbin/iptables')
  await symlink('iptables', join(rootDir, 'usr/sbin/iptables-restore'))
  const extensions = await findFiles(['/usr/lib/*/xtables/*.so'])
  for (const path of extensions) await copyInto(rootDir, path)
  await addScript(rootDir, 'usr/local/bin/npm', NPM)
  await addScript(rootDir, 'usr/bin/apt-get', APT_GET)
  for (const path of await productionPackages()) {
    await cp(join(top, path), join(rootDir, 'production', path), { recursive: true })
  }
}

/** Compiled anew, so that it is of these sources; the programs in C are the test run's own. */
const packPackage = async (dir: string, context: string): Promise<void> => {
  const staged = join(dir, 'package')
  const built = join(staged, 'dist')
  await mkdir(staged)
  const tsc = join(top, 'node_modules', '.bin', 'tsc')
  await run(process.execPath, [tsc, '-p', join(top, 'tsconfig.build.json'), '--outDir', built])
  await cp(process.env.HYPER_TEST_INIT_DIR ?? '', join(built, 'agent', 'init'), { recursive: true })
  for (const name of ['package.json', 'README.md', 'LICENSE', 'docs', 'deploy']) {
    await cp(join(top, name), join(staged, name), { recursive: true })
  }
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', context, staged])
}

const Failure = Type.Object({ error: Type.String() })

const finish = (docker: Docker, progress: NodeJS.ReadableStream): Promise<void> =>
  new Promise((resolve, reject) => {
    docker.modem.followProgress(progress, (error: Error | null, lines: readonly unknown[]) => {
      const failure = error ?? lines.find((line) => Check(Failure, line))
      if (failure === undefined || failure === null) resolve()
      else reject(failure instanceof Error ? failure : new Error(JSON.stringify(lines.slice(-5))))
    })
  })

/** Builds it as `name`; `dir` is an empty folder for what is made on the way. */
export const buildProgramImage = async (
  docker: Docker,
  name: string,
  dir: string,
): Promise<{ readonly remove: () => Promise<void> }> => {
  const [rootDir, context] = [join(dir, 'root'), join(dir, 'context')]
  await mkdir(context)
  await mkdir(rootDir)
  await Promise.all([makeBase(rootDir), packPackage(dir, context)])
  await cp(join(top, 'deploy/container/Containerfile'), join(context, 'Containerfile'))
  const archives = [rootDir, context].map((folder) => join(dir, `${basename(folder)}.tar`))
  for (const [index, folder] of [rootDir, context].entries()) {
    const owner = ['--owner=0', '--group=0', '--numeric-owner']
    await run('tar', ['-C', folder, ...owner, '-cf', archives[index] ?? '', '.'])
  }
  const [base = '', source = ''] = archives
  await finish(docker, await docker.importImage(base, { repo: BASE, tag: 'latest' }))
  const buildargs = { BASE }
  const options = { t: name, dockerfile: 'Containerfile', buildargs, networkmode: 'none', rm: true }
  await finish(docker, await docker.buildImage(source, options))
  return {
    async remove() {
      await docker.getImage(name).remove({ force: true })
      await docker.pruneImages({ filters: { dangling: { true: true } } })
      await docker.getImage(BASE).remove({ force: true })
    },
  }
}
